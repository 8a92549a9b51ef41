"""A spherical density as a continuous flow, and Gaussian velocities about its centre; both learnt, both smooth."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax, random
from jaxtyping import Array, Float, PRNGKeyArray

from clearview import checks
from clearview.dwarfs.jeans import Anisotropy
from clearview.flows import AbstractFlow
from clearview.flows.networks import dense_layers
from clearview.flows.transforms import bounded

STEEPEST = 2.0
"""A learnt slope of the cusp lies between 0 and this."""

REACH = 1e-5, 1e3
"""Depths along the line of sight between which the projection adds up, in units of the scale."""

DEPTHS = 96
"""Of the projection: nodes in the logarithm of the depth, where the trapezoidal rule converges exponentially."""


@dataclass(frozen=True)
class SphericalConfig:
    """Size and kind of a `SphericalCNF` or a `VelocityEllipsoid`.

    Attributes:
        width, depth: of the network.
        core: radius, in units of the scale, inside which all varies as even powers of r.
        slope: -d ln n/d ln r at the centre: 0 for a core.
        learn_slope: whether ``slope`` is only where to start from, above 0 and below `STEEPEST`.
        steps: of the integration, each of fourth order.

    Raises:
        ValueError: for a size or a number of steps below one, a core that is not positive, or a slope that no finite
            number of stars has, or that cannot be learnt.
    """

    width: int = 32
    depth: int = 2
    core: float = 0.5
    slope: float = 0.0
    learn_slope: bool = False
    steps: int = 4

    def __post_init__(self):
        checks.numbers(self, whole=True, width=(1, 1000), depth=(1, 100), steps=(1, 1000))
        checks.numbers(self, core=(checks.ABOVE_0, checks.MOST), slope=(0, 2.9))
        if self.learn_slope and not 0 < self.slope < STEEPEST:
            raise ValueError(
                f"Expected a slope to start from between 0 and {STEEPEST:g}, both excluded, got {self.slope:g}; "
                "start from 0.5."
            )


def _level(q):
    """ln (1 + q^2)^(1/2): even about the centre, a logarithm far out."""
    return 0.5 * jnp.log1p(q**2)


def _network(weights, biases, inputs):
    h = inputs
    for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
        h = (jax.nn.gelu(h) if i else h) @ w + b
    return h[0]


class SphericalCNF(AbstractFlow):
    """A spherically symmetric density in 3-D: a standard normal carried along dx/dt = r_hat g(r, t) from t = 0 to 1.

    The flow of arXiv:2505.00763, equivariant under rotations. g = r a(r^2, t) with a network a vanishes at the origin
    and grows with r, so that the core is smooth and power-law tails are in reach. Directions do not move, so only the
    radius is integrated, and the divergence g' + 2 g/r is exact. With a slope gamma the map r -> r^(c + 1),
    c = gamma/(3 - gamma), follows, and n rises as r^-gamma to the centre.

    Attributes:
        scale: length of the normal's standard deviation, kpc.
        raw: the slope, or what it is made of where it is learnt.
    """

    weights: list[Array]
    biases: list[Array]
    scale: Float[Array, ""]
    raw: Float[Array, ""]
    config: SphericalConfig = eqx.field(static=True)
    dim: int = eqx.field(static=True, default=3)
    condition_dim: int | None = eqx.field(static=True, default=None)

    def __init__(self, scale, config: SphericalConfig | None = None, *, key: PRNGKeyArray):
        self.config = config or SphericalConfig()
        self.dim, self.condition_dim = 3, None
        slope = self.config.slope
        self.scale = jnp.asarray(scale, jnp.result_type(float))
        self.raw = jnp.asarray(slope, self.scale.dtype)
        if self.config.learn_slope:
            self.raw = jnp.log(self.raw / (STEEPEST - self.raw))
        sizes = [2, *[self.config.width] * self.config.depth, 1]
        self.weights, self.biases = dense_layers(key, sizes, spread=0.5)

    @property
    def slope(self) -> Float[Array, ""]:
        """-d ln n/d ln r at the centre."""
        return STEEPEST * jax.nn.sigmoid(self.raw) if self.config.learn_slope else lax.stop_gradient(self.raw)

    def to_base(self, x, condition=None):
        scale = lax.stop_gradient(self.scale)
        x = x / scale
        r = jnp.sqrt(jnp.maximum(x @ x, 1e-30))  # of the root at 0 there is no gradient
        stretch, log_det = self._to_base(r)
        return x * jnp.exp(stretch), log_det - 3 * jnp.log(scale)

    def from_base(self, z, condition=None):
        r = jnp.sqrt(jnp.maximum(z @ z, 1e-30))
        return z * (self.radius(r) / r)

    def radius(self, z: Float[Array, ""]) -> Float[Array, ""]:
        """The radius [kpc] to which one radius of the normal is carried."""
        power = self.slope / (3 - self.slope)
        r = jnp.maximum(z, 1e-15) * jnp.exp(self._carried(z, 0.0, 1.0, determinant=False)[0])
        return lax.stop_gradient(self.scale) * r * jnp.exp(power * jnp.log(r))

    @eqx.filter_jit
    def log_density(self, r: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        """ln n at radii r [kpc], per kpc^3, for one star in all."""
        r = jnp.asarray(r)
        return jax.vmap(self._log_density)(r.ravel()).reshape(r.shape)

    @eqx.filter_jit
    def surface_density(self, R: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        """n along the line of sight, per kpc^2, at distances R [kpc] from the centre on the sky."""
        r, weight = self.line_of_sight(jnp.asarray(R))
        return (weight * jnp.exp(self.log_density(r))).sum(-1)

    def line_of_sight(self, R: Float[Array, "*batch"]) -> tuple[Float[Array, "*batch K"], Float[Array, " K"]]:
        """Radii along the lines of sight at R [kpc] on the sky, and their weights in an integral along these, kpc."""
        scale = lax.stop_gradient(self.scale)
        s, step = jnp.linspace(jnp.log(REACH[0]), jnp.log(REACH[1]), DEPTHS, retstep=True)
        depth = scale * jnp.exp(s)
        # Up to the first depth all is taken to stay as it is there.
        weight = (2 * step * depth).at[0].add((2 - step) * depth[0])
        return jnp.hypot(R[..., None], depth), weight

    def _log_density(self, r):
        scale = lax.stop_gradient(self.scale)
        q = jnp.maximum(r / scale, 1e-15)
        stretch, log_det = self._to_base(q)
        z = q * jnp.exp(stretch)
        return -0.5 * z**2 - 1.5 * jnp.log(2 * jnp.pi) + log_det - 3 * jnp.log(scale)

    def _to_base(self, q):
        """Logarithm of the normal's radius over ``q`` (in units of the scale), and ln |det dz/dx|."""
        power = self.slope / (3 - self.slope)
        log_r = jnp.log(q) / (1 + power)
        carried, log_det = self._carried(jnp.exp(log_r), 1.0, 0.0)
        return carried - power * log_r, log_det - jnp.log1p(power) - 3 * power * log_r

    def _carried(self, r, begin: float, end: float, *, determinant: bool = True):
        """Change of ln r along the flow from time ``begin`` to ``end``, and that of ln |det| of the whole map."""
        size = (end - begin) / self.config.steps

        def rate(s, t):
            def a(p):
                return bounded(_network(self.weights, self.biases, jnp.stack([_level(p / self.config.core), t])))

            at = r * jnp.exp(s[0])
            if not determinant:
                return a(at)[None]
            value, change = jax.jvp(a, (at,), (at,))
            return jnp.stack([value, 3 * value + change])  # g' + 2 g/r of g = r a

        def step(s, number):
            t = begin + size * number
            k1 = rate(s, t)
            k2 = rate(s + 0.5 * size * k1, t + 0.5 * size)
            k3 = rate(s + 0.5 * size * k2, t + 0.5 * size)
            k4 = rate(s + size * k3, t + size)
            return s + size / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

        start = jnp.zeros(1 + determinant, r.dtype)
        return lax.scan(step, start, jnp.arange(self.config.steps, dtype=r.dtype))[0]


class VelocityEllipsoid(eqx.Module):
    """p(v | x), a Gaussian about zero with sigma_r along r and sigma_r (1 - beta)^(1/2) across it.

    Attributes:
        scale: length, kpc.
        spread: km/s; sigma_r is this times a positive network of r.
        slope: of the tracers' cusp. In a halo less steep than theirs the pressure n sigma^2 is finite at the centre,
            so that sigma_r falls as r^(slope/2).
        anisotropy: beta(r).
    """

    weights: list[Array]
    biases: list[Array]
    scale: Float[Array, ""]
    spread: Float[Array, ""]
    config: SphericalConfig = eqx.field(static=True)
    anisotropy: Anisotropy = eqx.field(static=True)

    def __init__(
        self, scale, spread, anisotropy: Anisotropy | None = None, config: SphericalConfig | None = None, *, key
    ):
        self.config, self.anisotropy = config or SphericalConfig(), anisotropy or Anisotropy()
        self.scale, self.spread = (jnp.asarray(a, jnp.result_type(float)) for a in (scale, spread))
        sizes = [1, *[self.config.width] * self.config.depth, 1]
        self.weights, self.biases = dense_layers(key, sizes, number=1, spread=0.5)

    def log_sigma(self, r: Float[Array, ""], slope: Any = 0.0) -> Float[Array, ""]:
        """ln of sigma_r [km/s] at one radius [kpc], for tracers of that slope at the centre."""
        scale, spread = lax.stop_gradient((self.scale, self.spread))
        level = _level(r / (self.config.core * scale))
        log_sigma = bounded(_network(self.weights, self.biases, level[None]))
        cusp = jnp.log(jnp.maximum(r / scale, 1e-15)) - _level(r / scale)
        return jnp.log(spread) + log_sigma + 0.5 * slope * cusp

    def draw(self, key: PRNGKeyArray, x: Float[Array, "N 3"], slope: Any = 0.0) -> Float[Array, "N 3"]:
        """One velocity [km/s] at each place [kpc]."""
        r = jnp.sqrt(jnp.maximum((x**2).sum(-1), 1e-30))
        sigma = jnp.exp(jax.vmap(self.log_sigma, (0, None))(r, slope))
        v = sigma[:, None] * random.normal(key, x.shape, x.dtype)
        along = (v * x).sum(-1, keepdims=True) / r[:, None] ** 2 * x
        return along + jnp.sqrt(1 - self.anisotropy.beta(r))[:, None] * (v - along)
