"""Monotonic functions of one number whose parameters come from a network: what the layers of a flow are made of."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from clearview import checks

STEEPEST = 4.0
"""Log scales and slopes stay below this, smoothly: no runaway in the tails."""


def bounded(raw):
    """``raw``, kept within ±`STEEPEST`."""
    return STEEPEST * jnp.tanh(raw / STEEPEST)


@dataclass(frozen=True)
class Affine:
    """y = (x - shift) / scale. Smooth to all orders, so the choice where gradients of the density are taken."""

    @property
    def count(self) -> int:
        """Parameters of each coordinate."""
        return 2

    def forward(self, x: Float[Array, " dim"], raw: Float[Array, "2 dim"]):
        """y and ln dy/dx, each (dim,); parameters of zero are the identity."""
        log_scale = bounded(raw[1])
        return (x - raw[0]) * jnp.exp(-log_scale), -log_scale

    def inverse(self, y: Float[Array, " dim"], raw: Float[Array, "2 dim"]) -> Float[Array, " dim"]:
        """The x of `forward`."""
        return y * jnp.exp(bounded(raw[1])) + raw[0]


@dataclass(frozen=True)
class Spline:
    """An affine function, then a monotonic rational-quadratic spline with linear tails.

    Durkan, Bekasov, Murray & Papamakarios 2019 (arXiv:1906.04032). The spline joins ``bins`` pieces on
    [-reach, reach] and is the identity beyond. Its slope is continuous, the slope's derivative is not: ln p has
    kinks in its gradient, so this is for densities that are looked at or sampled, not for the Boltzmann equation.

    Raises:
        ValueError: for a number of bins not from 2 to 100, or a reach that is not positive.
    """

    bins: int = 8
    reach: float = 4.0

    def __post_init__(self):
        checks.numbers(self, whole=True, bins=(2, 100))
        checks.numbers(self, reach=(checks.ABOVE_0, checks.MOST))

    @property
    def count(self) -> int:
        """Parameters of each coordinate."""
        return 2 + 3 * self.bins - 1

    def forward(self, x, raw):
        """y and ln dy/dx, each (dim,); parameters of zero are the identity."""
        u, log_scale = Affine().forward(x, raw[:2])
        at, x0, w, y0, h, d0, d1, inside = self._piece(u, raw[2:], 0)
        t = (at - x0) / w
        s, cross = h / w, t * (1 - t)
        bottom = s + (d1 + d0 - 2 * s) * cross
        y = y0 + h * (s * t**2 + d0 * cross) / bottom
        slope = (s / bottom) ** 2 * (d1 * t**2 + 2 * s * cross + d0 * (1 - t) ** 2)
        return jnp.where(inside, y, u), log_scale + jnp.where(inside, jnp.log(slope), 0.0)

    def inverse(self, y, raw):
        """The x of `forward`."""
        at, x0, w, y0, h, d0, d1, inside = self._piece(y, raw[2:], 1)
        s, v = h / w, at - y0
        bend = v * (d1 + d0 - 2 * s)
        a, b, c = h * (s - d0) + bend, h * d0 - bend, -s * v
        # Of the two forms of the one root, that without cancellation. The floor keeps the gradient of the root finite.
        root = jnp.sqrt(jnp.maximum(b**2 - 4 * a * c, 1e-30))
        up = b >= 0
        t = jnp.where(up, 2 * c / jnp.where(up, -b - root, 1.0), (root - b) / jnp.where(up, 1.0, 2 * a))
        t = jnp.clip(t, 0.0, 1.0)
        return Affine().inverse(jnp.where(inside, x0 + t * w, y), raw[:2])

    def _piece(self, at, raw, side: int):
        """``at``, or 0 where it is beyond reach; of the piece that it lies in left x, width, lower y, height and the
        slopes at both ends; and whether it is within reach. ``side`` 0 looks it up among the x of the knots, 1 the y.
        """
        bins, reach = self.bins, self.reach
        sizes = [1e-3 + (1 - 1e-3 * bins) * jax.nn.softmax(raw[i * bins : (i + 1) * bins], axis=0) for i in (0, 1)]
        ends = [2 * reach * jnp.cumsum(size, axis=0) - reach for size in sizes]
        starts = [end - 2 * reach * size for end, size in zip(ends, sizes, strict=True)]
        one = jnp.ones((1, *raw.shape[1:]), raw.dtype)
        slopes = jnp.concatenate([one, jnp.exp(bounded(raw[2 * bins :])), one])
        inside = jnp.abs(at) < reach
        at = jnp.where(inside, at, 0.0)
        # A sum over all pieces with one that counts: on a processor without gather this is the fast way.
        above = jnp.concatenate([one > 0, at >= ends[side][:-1]])
        here = above & ~jnp.concatenate([above[1:], one < 0])
        x0, w, y0, h, d0, d1 = (
            jnp.where(here, k, 0.0).sum(0)
            for k in (
                starts[0], 2 * reach * sizes[0], starts[1], 2 * reach * sizes[1], slopes[:-1], slopes[1:],
            )
        )  # fmt: skip
        return at, x0, w, y0, h, d0, d1, inside


TRANSFORMS = {"affine": lambda bins, reach: Affine(), "spline": Spline}
"""By name, made of the ``bins`` and ``reach`` of a `clearview.flows.FlowConfig`."""
