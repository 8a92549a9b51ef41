"""Jeans' equation in spherical symmetry: from a halo, the stars' density and their anisotropy to what is seen.

    d(n s^2)/dr + 2 beta n s^2 / r = -n G M / r^2,   s the radial velocity dispersion (Binney & Mamon 1982),
    Sigma sigma_los^2 = 2 integral (1 - beta R^2/r^2) n s^2 r dr / sqrt(r^2 - R^2).

Where the density of stars, seen as a function of potential and radius, is a product of one function of each (Dejonghe
1986; An & Evans 2011), all the higher moments follow from the same beta; that of 4 is

    d(n <v_r^4>)/dr + 2 beta n <v_r^4> / r = -3 n s^2 G M / r^2,
    Sigma <v_los^4> = 2 integral g n <v_r^4> r dr / sqrt(r^2 - R^2),
    g = 1 - 2 beta R^2/r^2 + (beta (1 + beta) / 2 - beta' / 4) R^4/r^4,

with beta' = d beta / d ln r. Systems of constant beta, of Osipkov and Merritt and of Baes and van Hese are such; with
beta' = 0 the projection is that of Lokas 2002 (arXiv:astro-ph/0112023).

All is linear in n s^2, so that on a fixed grid of radii every integral is a matrix: that of the cubic spline in ln r
through the values there, integrated by Gauss's rule after r = R cosh(t), which takes the root's singularity away.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.interpolate import CubicSpline

from clearview.units import G

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)


class Anisotropy(NamedTuple):
    """beta(r) = inner + sum_k (outer_k - outer_(k-1)) x^sharpness / (1 + x^sharpness), x = r / radius_k.

    One change is that of Baes & van Hese 2007, of which (0, 1, r_a, 2) is Osipkov and Merritt's; equal inner and outer
    are a constant.

    Attributes:
        inner: 1 - sigma_t^2 / sigma_r^2 at the centre.
        outer: beyond each radius, a number or (K,); outer_0 is ``inner``.
        radius: of the changes, kpc, a number or (K,).
        sharpness: of all changes.
    """

    inner: Any = 0.0
    outer: Any = 0.0
    radius: Any = 1.0
    sharpness: Any = 2.0

    def _steps(self, r):
        """The changes (K,), and (r / radius)^sharpness (..., K)."""
        outer = jnp.atleast_1d(jnp.asarray(self.outer))
        steps = jnp.diff(outer, prepend=jnp.asarray(self.inner, outer.dtype))
        return steps, (jnp.asarray(r)[..., None] / jnp.atleast_1d(jnp.asarray(self.radius))) ** self.sharpness

    def beta(self, r):
        """(...) at r [kpc]."""
        steps, power = self._steps(r)
        return self.inner + (power / (1 + power)) @ steps

    def bend(self, r):
        """(...) d beta / d ln r at r [kpc]."""
        steps, power = self._steps(r)
        return (self.sharpness * power / (1 + power) ** 2) @ steps

    def ln_kernel(self, r):
        """(...) 2 * integral of beta d ln r: the logarithm of the integrating factor of Jeans' equation."""
        steps, power = self._steps(r)
        return 2 * self.inner * jnp.log(r) + 2 / self.sharpness * jnp.log1p(power) @ steps


class Sphere(NamedTuple):
    """A grid of radii and what integrates along it.

    Attributes:
        r: (M,) kpc, even in the logarithm.
        R: (K,) kpc on the sky.
        inwards: (M, M) takes values to their integrals over ln r from r[0].
        abel: (K, M) takes a density to its projection.
        abel_ratio: (K, M) the same, of the density times R^2/r^2.
        abel_ratio2: (K, M) the same, times R^4/r^4.
    """

    r: Any
    R: Any
    inwards: Any
    abel: Any
    abel_ratio: Any
    abel_ratio2: Any

    @classmethod
    def of(cls, R, *, low: float, high: float, size: int = 160) -> "Sphere":
        """A grid of ``size`` radii from ``low`` to ``high`` [kpc], seen at R (K,) [kpc] between them."""
        r = np.geomspace(low, high, size)
        R, t = np.asarray(R, float), np.log(r)
        basis = CubicSpline(t, np.eye(size))
        inwards = basis.antiderivative()(t)
        # r = R cosh(s): z = R sinh(s).
        far = np.arccosh(high / R)[:, None]
        s = far / 2 * (_NODES + 1)
        radii = R[:, None] * np.cosh(s)
        # Splines go through density * r^2, which changes less.
        at = basis(np.log(radii)) * r**2 / radii[..., None] ** 2
        weight = far * _WEIGHTS * radii
        ratio = (R[:, None] / radii) ** 2
        abel, first, second = (np.einsum("kq,kqm->km", weight * ratio**i, at) for i in range(3))
        return cls(r, R, inwards, abel, first, second)


def mass(sphere: Sphere, rho):
    """(..., M) Msun within r of a density (..., M) [Msun/kpc^3], whose first power law goes on to the centre."""
    shell = 4 * np.pi * sphere.r**3 * rho
    power = jnp.log(shell[..., 1] / shell[..., 0]) / np.log(sphere.r[1] / sphere.r[0])
    return shell @ sphere.inwards.T + (shell[..., 0] / jnp.maximum(power, 0.05))[..., None]


def pressure(sphere: Sphere, n, inside, anisotropy: Anisotropy):
    """(..., M) n sigma_r^2 of stars of density n (..., M) in the mass ``inside`` (..., M) [Msun]."""
    step = np.log(sphere.r[1] / sphere.r[0])
    ln_g = jnp.broadcast_to(anisotropy.ln_kernel(sphere.r), jnp.shape(n))
    y = ln_g + jnp.log(n * G * inside / sphere.r)
    slope = jnp.asarray(jnp.gradient(y, step, axis=-1))
    # From each radius to the next as an exponential, and what its bend adds. All is relative to g there: of tangential
    # orbits it falls by more than a number can hold, and a difference of integrals from the centre would be noise.
    rise = y[..., 1:] - y[..., :-1]
    safe = jnp.where(jnp.abs(rise) < 1e-5, 1.0, rise)
    even = jnp.where(jnp.abs(rise) < 1e-5, 1 + rise / 2, jnp.expm1(safe) / safe)
    bend = 1 + step / 12 * (slope[..., :-1] - slope[..., 1:])
    parts = step * jnp.exp(y[..., :-1] - ln_g[..., :-1]) * even * bend
    # Beyond the grid the integrand falls on as a power law.
    last = jnp.exp(y[..., -1:] - ln_g[..., -1:]) / jnp.maximum(-slope[..., -1:], 0.5)

    def joined(outer, inner):
        return inner[0] * outer[0], inner[0] * outer[1] + inner[1]

    each = jnp.exp(ln_g[..., 1:] - ln_g[..., :-1])[..., ::-1], parts[..., ::-1]
    factor, added = jax.lax.associative_scan(joined, each, axis=-1)
    return jnp.concatenate([(factor * last + added)[..., ::-1], last], axis=-1)


def moments_los(sphere: Sphere, n, inside, anisotropy: Anisotropy):
    """(..., K) sigma_los^2 [(km/s)^2] and <v_los^4> [(km/s)^4] at R, and the projected density Sigma (..., K)."""
    beta, bend = anisotropy.beta(sphere.r), anisotropy.bend(sphere.r)
    p = pressure(sphere, n, inside, anisotropy)
    q = 3 * pressure(sphere, p, inside, anisotropy)
    surface = n @ sphere.abel.T
    second = p @ sphere.abel.T - (beta * p) @ sphere.abel_ratio.T
    outer = beta * (1 + beta) / 2 - bend / 4
    fourth = q @ sphere.abel.T - (2 * beta * q) @ sphere.abel_ratio.T + (outer * q) @ sphere.abel_ratio2.T
    return second / surface, fourth / surface, surface
