"""What a density is, and the wrappers that put a flow into the units and onto the support of the data."""

import abc
import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Array, Float, PRNGKeyArray


class AbstractDensity(eqx.Module):
    """A normalised density over points of ``dim`` numbers, given a condition of ``condition_dim`` numbers or None.

    A subclass writes `_log_prob` and `_sample` for a flat batch. Points are on the last axis, leading axes are batches.
    """

    dim: eqx.AbstractVar[int]
    condition_dim: eqx.AbstractVar[int | None]

    @abc.abstractmethod
    def _log_prob(self, x: Float[Array, "N dim"], condition) -> Float[Array, " N"]:
        """ln p of each point."""

    @abc.abstractmethod
    def _sample(self, key: PRNGKeyArray, count: int, condition) -> Float[Array, "N dim"]:
        """One draw for each condition, or ``count`` draws."""

    @eqx.filter_jit
    def log_prob(self, x: Float[Array, "*batch dim"], condition=None) -> Float[Array, "*batch"]:
        """ln p(x | condition), per unit of the data's volume.

        Raises:
            ValueError: if the last axis of x or condition has another length than the density's.
        """
        x, condition = checked(self, x, condition)
        return self._log_prob(*flat(x, condition)).reshape(x.shape[:-1])

    @eqx.filter_jit
    def score(self, x: Float[Array, "*batch dim"], condition=None) -> Float[Array, "*batch dim"]:
        """Gradient of ln p(x | condition) along x, per unit of the data."""
        x, condition = checked(self, x, condition)
        points, given = flat(x, condition)
        return jax.grad(lambda at: self._log_prob(at, given).sum())(points).reshape(x.shape)

    @eqx.filter_jit
    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...] = (), condition=None) -> Float[Array, "*batch dim"]:
        """Draws of shape ``(*shape, *condition batch, dim)``."""
        batch = (*shape, *(() if condition is None else jnp.shape(condition)[:-1]))
        _, condition = checked(self, jnp.zeros((*batch, self.dim)), condition)
        _, given = flat(jnp.zeros((*batch, self.dim)), condition)
        return self._sample(key, math.prod(batch), given).reshape(*batch, self.dim)

    def loss(self, key, x, condition=None) -> Float[Array, ""]:
        """What `clearview.flows.fit` minimises: the mean of -ln p over a batch."""
        return -self.log_prob(x, condition).mean()


def checked(model, x, condition):
    """``x`` and the condition broadcast to its batch, refused if they do not suit the model's dimensions."""
    x = jnp.asarray(x)
    if x.shape[-1:] != (model.dim,):
        raise ValueError(
            f"Expected points with {model.dim} coordinates on the last axis, got shape {x.shape}; reshape them."
        )
    if (condition is None) != (model.condition_dim is None):
        wanted = "no condition" if model.condition_dim is None else f"a condition of {model.condition_dim} numbers"
        raise ValueError(f"Expected {wanted}, got {'none' if condition is None else 'one'}; correct the call.")
    if condition is not None:
        condition = jnp.asarray(condition)
        if condition.shape[-1:] != (model.condition_dim,):
            raise ValueError(
                f"Expected a condition of {model.condition_dim} numbers, got shape {condition.shape}; reshape it."
            )
        condition = jnp.broadcast_to(condition, (*x.shape[:-1], model.condition_dim))
    return x, condition


def flat(x, condition):
    """Both with one axis of points in front."""
    return x.reshape(-1, x.shape[-1]), None if condition is None else condition.reshape(-1, condition.shape[-1])


def in_chunks(draw: Callable, count: int, key: PRNGKeyArray, chunk: int = 2**15) -> np.ndarray:
    """``count`` rows of ``draw(key, size)``, a chunk at a time: one compilation, and no more memory for more rows."""
    if not isinstance(count, int | np.integer) or count < 1:
        raise ValueError(f"Expected a whole number of draws, at least one, got {count!r}; correct it.")
    size = min(chunk, count)
    parts = [np.asarray(draw(random.fold_in(key, i), size)) for i in range(-(-count // size))]
    return np.concatenate(parts)[:count]


def over(one, x, condition):
    """``one(point, condition)`` for each of a flat batch."""
    return jax.vmap(one, (0, None if condition is None else 0))(x, condition)


class AbstractFlow(AbstractDensity):
    """A density that is a standard normal seen through an invertible map; written for one point."""

    @abc.abstractmethod
    def to_base(self, x: Float[Array, " dim"], condition) -> tuple[Float[Array, " dim"], Float[Array, ""]]:
        """Standard-normal point z of one data point, and ln |det dz/dx|."""

    @abc.abstractmethod
    def from_base(self, z: Float[Array, " dim"], condition) -> Float[Array, " dim"]:
        """The data point of one standard-normal point."""

    def _log_prob(self, x, condition):
        def one(x, condition):
            z, log_det = self.to_base(x, condition)
            return -0.5 * (z @ z) - 0.5 * self.dim * jnp.log(2 * jnp.pi) + log_det

        return over(one, x, condition)

    def _sample(self, key, count, condition):
        return over(self.from_base, random.normal(key, (count, self.dim)), condition)


class Standardised(AbstractFlow):
    """``inner`` seen through a shift and a scale per coordinate, taken from the data; log_prob is in data units."""

    inner: AbstractFlow
    mean: Float[Array, " dim"]
    scale: Float[Array, " dim"]
    dim: int = eqx.field(static=True)
    condition_dim: int | None = eqx.field(static=True)

    def __init__(self, inner: AbstractFlow, mean, scale):
        self.inner, self.dim, self.condition_dim = inner, inner.dim, inner.condition_dim
        self.mean, self.scale = jnp.asarray(mean, jnp.float32), jnp.asarray(scale, jnp.float32)

    def to_base(self, x, condition):
        mean, scale = jax.lax.stop_gradient((self.mean, self.scale))
        z, log_det = self.inner.to_base((x - mean) / scale, condition)
        return z, log_det - jnp.log(scale).sum()

    def from_base(self, z, condition):
        return self.mean + self.scale * self.inner.from_base(z, condition)


class Ball(AbstractFlow):
    """``inner`` on R^3 seen through the soft map of a ball: u = arctanh(|q|) q/|q|, q = (x - center)/radius.

    The density has no hard edge for the flow to learn. Outside the ball log_prob is -inf.
    """

    inner: AbstractFlow
    center: Float[Array, "3"]
    radius: Float[Array, ""]
    dim: int = eqx.field(static=True, default=3)
    condition_dim: int | None = eqx.field(static=True, default=None)

    def __init__(self, inner: AbstractFlow, center, radius):
        self.inner, self.condition_dim = inner, inner.condition_dim
        self.center, self.radius = jnp.asarray(center, jnp.float32), jnp.asarray(radius, jnp.float32)

    def to_base(self, x, condition):
        center, radius = jax.lax.stop_gradient((self.center, self.radius))
        u, log_det, inside = soft_ball((x - center) / radius)
        z, inner = self.inner.to_base(u, condition)
        return z, jnp.where(inside, inner + log_det - 3 * jnp.log(radius), -jnp.inf)

    def from_base(self, z, condition):
        u = self.inner.from_base(z, condition)
        r = jnp.linalg.norm(u)
        return self.center + self.radius * u * jnp.tanh(r) / jnp.maximum(r, 1e-12)


def soft_ball(q: Float[Array, "3"]) -> tuple[Float[Array, "3"], Float[Array, ""], Array]:
    """The point u in R^3 of a point q of the unit ball, ln |det du/dq|, and whether q is inside."""
    s = q @ q
    inside = s < 1
    s = jnp.minimum(s, 1 - 1e-6)  # float32 cannot tell the last micro-shell from the edge
    small = s < 1e-3
    root = jnp.sqrt(jnp.where(small, 0.5, s))
    stretch = jnp.where(small, 1 + s / 3 + s**2 / 5, jnp.arctanh(root) / root)
    return q * stretch, 2 * jnp.log(stretch) - jnp.log1p(-s), inside


class PhaseSpace(eqx.Module):
    """f(x, v) = n(x) p(v | x), normalised to one star, per kpc^3 (km/s)^3.

    Velocities are learnt in the cylindrical directions at x (a rotation, so of unit Jacobian: no symmetry is
    assumed) and the condition is the place in units of the ball.

    Attributes:
        n: density of positions, kpc.
        p: density of (v_R, v_phi, v_z) [km/s] given (x - center)/radius.
    """

    n: Ball
    p: AbstractDensity

    def log_n(self, x):
        """ln n at x (..., 3) [kpc], per kpc^3."""
        return self.n.log_prob(x)

    def log_f(self, x, v):
        """ln f at x (..., 3) [kpc], v (..., 3) [km/s], per kpc^3 (km/s)^3."""
        return self.n.log_prob(x) + self.p.log_prob(*self.velocity_input(x, v))

    def sample_velocity(self, key, x, draws: int):
        """(draws, ..., 3) velocities [km/s] at x (..., 3) [kpc]."""
        local = self.p.sample(key, (draws,), self.place(x))
        return rotate(x, local)

    def place(self, x):
        """x in units of the ball: the condition of p."""
        return (x - self.n.center) / self.n.radius

    def velocity_input(self, x, v):
        """What p takes for stars at x with velocity v: the local velocity and the place."""
        return rotate(x, v), self.place(x)


def rotate(x, v):
    """v (..., 3) from Cartesian to (v_R, v_phi, v_z) at x (..., 3), v_phi > 0 along the disc's rotation.

    With v_phi = -L_z/R this is a reflection and so its own inverse.
    """
    R = jnp.sqrt(x[..., 0] ** 2 + x[..., 1] ** 2)
    c, s = x[..., 0] / R, x[..., 1] / R
    return jnp.stack([v[..., 0] * c + v[..., 1] * s, v[..., 0] * s - v[..., 1] * c, v[..., 2]], axis=-1)
