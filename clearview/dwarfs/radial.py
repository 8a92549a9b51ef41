"""A spherical density as a flow of one variable: a smooth, rising map of ln r to that of a Plummer sphere.

JFlow (arXiv:2505.00763) moves points along their own direction by a differential equation; a map of the radius alone
says the same of a sphere, and its density, mass and projection need no integration in time. It is a function of |x|,
so that a rotation changes nothing.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.optimize import minimize

from clearview import checks

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)
_REACH = 1e4  # of the integrals along the line of sight, in scales
KNOTS = np.linspace(-2.0, 2.5, 5)
"""ln(r / scale) where the map's slope changes."""
_WIDTH = 0.4  # of a change, in ln r


class RadialFlow(eqx.Module):
    """Stars of which a part N(<r) = (1 + exp(-2 t))^(-3/2), t = h(ln r), lies within r; h = ln(r/scale) is Plummer's.

    The slope of h goes from 1 - gamma/3 at the centre, where n ~ r^-gamma, through one value between each two knots
    to the last one, where n ~ r^(-3 - 2 h').

    Attributes:
        ln_scale: ln of the radius with h = 0, kpc.
        steps: (6,) slopes of h, positive.
    """

    ln_scale: Float[Array, ""]
    steps: Float[Array, " 6"]

    @classmethod
    def of(cls, scale: float, slope: float = 0.0, steps=None) -> "RadialFlow":
        """A Plummer sphere of that scale [kpc], but for the inner slope gamma, or with other ``steps`` (5,) outside."""
        slope = checks.number("slope", slope, 0, 2.9)
        rest = np.ones(len(KNOTS)) if steps is None else np.asarray(steps, float)
        return cls(jnp.asarray(np.log(scale)), jnp.asarray(np.concatenate([[1 - slope / 3], rest])))

    @property
    def slope(self):
        """gamma of the centre, n ~ r^-gamma."""
        return 3 * (1 - self.steps[0])

    def _map(self, u):
        """h and its slope at u = ln r."""
        u = jnp.asarray(u)[..., None] - self.ln_scale
        jumps = jnp.diff(self.steps)
        # softplus(-KNOTS / width) is subtracted so that h = 0 at the scale.
        turn = jax.nn.softplus((u - KNOTS) / _WIDTH) - jax.nn.softplus(-KNOTS / _WIDTH)
        h = self.steps[0] * u[..., 0] + _WIDTH * (turn * jumps).sum(-1)
        return h, self.steps[0] + (jax.nn.sigmoid((u - KNOTS) / _WIDTH) * jumps).sum(-1)

    def inside(self, r):
        """(...) part of the stars within r [kpc]."""
        return (1 + jnp.exp(-2 * self._map(jnp.log(r))[0])) ** -1.5

    def log_density(self, r):
        """(...) ln of the stars per kpc^3 at r [kpc], of one star in all."""
        u = jnp.log(r)
        t, slope = self._map(u)
        # dN/dt = 3 exp(-2t) (1 + exp(-2t))^(-5/2), without overflow at either end.
        return np.log(3 / (4 * np.pi)) - 2 * t - 2.5 * jax.nn.softplus(-2 * t) + jnp.log(slope) - 3 * u

    def surface_density(self, R):
        """(...) stars per kpc^2 on the sky at R [kpc], of one star in all: Abel's integral by Gauss's rule."""
        R = jnp.asarray(R)[..., None]
        far = jnp.arcsinh(_REACH * jnp.exp(self.ln_scale) / R)
        r = R * jnp.cosh(far / 2 * (_NODES + 1))  # no root is left to be singular at r = R
        return (far * _WEIGHTS * r * jnp.exp(self.log_density(r))).sum(-1)

    def log_prob(self, x):
        """(N,) ln density per kpc^3 of points (N, 3), or per kpc^2 of points on the sky (N, 2), kpc."""
        r = jnp.linalg.norm(x, axis=-1)
        return self.log_density(r) if jnp.shape(x)[-1] == 3 else jnp.log(self.surface_density(r))

    def radius(self, part):
        """(...) r [kpc] within which lies that part of the stars."""
        t = -0.5 * jnp.log(jnp.asarray(part) ** (-2 / 3) - 1)
        reach = (jnp.abs(t) + 10) / jnp.min(self.steps)
        low, high = self.ln_scale - reach, self.ln_scale + reach

        def halve(_, ends):
            low, high = ends
            middle = (low + high) / 2
            under = self._map(middle)[0] < t
            return jnp.where(under, middle, low), jnp.where(under, high, middle)

        low, high = jax.lax.fori_loop(0, 60, halve, (low, high))
        return jnp.exp((low + high) / 2)

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n 3"]:
        """Stars, kpc."""
        k_r, k_way = jax.random.split(key)
        way = jax.random.normal(k_way, (n, 3))
        r = self.radius(jax.random.uniform(k_r, (n,), minval=1e-6, maxval=1 - 1e-6))
        return r[:, None] * way / jnp.linalg.norm(way, axis=1, keepdims=True)


def fit_radial(R, *, slope: float | None = None, stiff: float = 0.3) -> tuple[RadialFlow, float]:
    """The flow of the highest likelihood for stars at R (N,) [kpc] on the sky, and its ln(likelihood).

    Args:
        R: positive.
        slope: gamma of the centre, fixed; None learns it. A scan compares the likelihoods of several.
        stiff: standard deviation of ln of the ratio of neighbouring steps, a weak prior; it counts in the likelihood.

    Raises:
        ValueError: for radii that are not positive and finite, or too few.
    """
    R = np.asarray(R, float)
    if R.ndim != 1 or len(R) < 10 or not (np.isfinite(R) & (R > 0)).all():
        raise ValueError("Expected at least 10 positive radii in kpc, got others; correct them.")
    if slope is not None:
        checks.number("slope", slope, 0, 2.9)
    grid = np.geomspace(R.min(), R.max() * (1 + 1e-9), 80)
    lowest = 1 - 2 / 3  # gamma up to 2

    def build(p):
        first = 1 - slope / 3 if slope is not None else lowest + (1 - lowest) * jax.nn.sigmoid(p[-1])
        return RadialFlow(p[0], jnp.concatenate([jnp.reshape(first, 1), jnp.exp(p[1:6])]))

    @jax.jit
    def loss(p, ln_R):
        ln_sigma = jnp.log(build(p).surface_density(grid))
        roughness = jnp.sum(jnp.diff(p[1:6], prepend=0.0) ** 2) / (2 * stiff**2)
        return -jnp.interp(ln_R, np.log(grid), ln_sigma).sum() + roughness + 0.5 * (p[-1] - 1.0) ** 2 * (slope is None)

    gradient = jax.jit(jax.value_and_grad(loss))
    start = np.concatenate([[np.log(np.median(R))], np.zeros(5), [1.0] * (slope is None)])

    def both(p):
        value, slopes = gradient(jnp.asarray(p, jnp.result_type(float)), jnp.log(R))
        return float(value), np.asarray(slopes, float)

    found = minimize(both, start, jac=True, method="L-BFGS-B")
    return build(jnp.asarray(found.x, jnp.result_type(float))), -float(found.fun)
