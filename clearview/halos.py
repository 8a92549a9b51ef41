"""Spherical profiles of halos and of the stars in them, and what of their dark matter shines along a line of sight."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import special

from clearview import checks
from clearview.units import G

J_UNIT = "GeV2 cm-5"
D_UNIT = "GeV cm-2"
_GEV = 1.98840987e30 * 2.99792458e8**2 / 1.602176634e-10  # in a solar mass
_CM = 3.0856775814913673e21  # in a kpc
PER_J, PER_D = _GEV**2 / _CM**5, _GEV / _CM**2
"""GeV^2 cm^-5 in one Msun^2 kpc^-5, and GeV cm^-2 in one Msun kpc^-2."""


@dataclass(frozen=True)
class Profile:
    """A spherical halo: density(r) in Msun/kpc^3 and the mass inside r in Msun, r (...) in kpc.

    Attributes:
        rho_s: density scale, Msun/kpc^3.
        r_s: radius scale, kpc.
    """

    rho_s: float
    r_s: float
    shapes: ClassVar[dict[str, tuple[float, float]]] = {}
    """Default prior range of each further parameter."""

    def density(self, r) -> np.ndarray:
        """(...) Msun/kpc^3."""
        return self.rho_s * self._shape(np.asarray(r, float) / self.r_s)

    def mass(self, r) -> np.ndarray:
        """(...) Msun inside r."""
        return 4 * np.pi * self.rho_s * self.r_s**3 * self._inside(np.asarray(r, float) / self.r_s)

    def slope(self, r) -> np.ndarray:
        """(...) d ln density / d ln r."""
        r, step = np.asarray(r, float), 1e-4
        return np.log(self.density(r * np.exp(step)) / self.density(r * np.exp(-step))) / (2 * step)

    def circular_velocity(self, r) -> np.ndarray:
        """(...) km/s."""
        r = np.asarray(r, float)
        return np.sqrt(G * self.mass(r) / r)

    def _shape(self, x):
        raise NotImplementedError

    def _inside(self, x):
        """Integral of x^2 _shape from 0."""
        raise NotImplementedError


@dataclass(frozen=True)
class NFW(Profile):
    """rho_s / (x (1 + x)^2), Navarro, Frenk & White 1996 (arXiv:astro-ph/9508025)."""

    def _shape(self, x):
        return 1 / (x * (1 + x) ** 2)

    def _inside(self, x):
        return np.log1p(x) - x / (1 + x)


@dataclass(frozen=True)
class GeneralisedNFW(Profile):
    """rho_s x^-inner (1 + x)^(inner - 3), Zhao 1996 (arXiv:astro-ph/9509122)."""

    inner: float = 1.0
    shapes: ClassVar[dict[str, tuple[float, float]]] = {"inner": (0.0, 2.0)}

    def _shape(self, x):
        return x**-self.inner * (1 + x) ** (self.inner - 3)

    def _inside(self, x):
        k = 3 - self.inner
        return x**k / k * special.hyp2f1(k, k, k + 1, -x)


@dataclass(frozen=True)
class Einasto(Profile):
    """rho_s exp(-2/alpha (x^alpha - 1)), Einasto 1965; rho_s is the density where its slope is -2."""

    alpha: float = 0.17
    shapes: ClassVar[dict[str, tuple[float, float]]] = {"alpha": (0.05, 1.0)}

    def _shape(self, x):
        return np.exp(-2 / self.alpha * (x**self.alpha - 1))

    def _inside(self, x):
        k = 3 / self.alpha
        incomplete = special.gammainc(k, 2 / self.alpha * x**self.alpha)
        return np.exp(2 / self.alpha + special.gammaln(k) + k * np.log(self.alpha / 2)) / self.alpha * incomplete


@dataclass(frozen=True)
class Burkert(Profile):
    """rho_s / ((1 + x)(1 + x^2)), cored; Burkert 1995 (arXiv:astro-ph/9504041)."""

    def _shape(self, x):
        return 1 / ((1 + x) * (1 + x**2))

    def _inside(self, x):
        return 0.25 * (np.log1p(x**2) + 2 * np.log1p(x) - 2 * np.arctan(x))


@dataclass(frozen=True)
class Soliton(Profile):
    """rho_s / (1 + 0.091 x^2)^8, the core of fuzzy dark matter; Schive et al. 2014 (arXiv:1406.6586)."""

    def _shape(self, x):
        return (1 + 0.091 * x**2) ** -8.0

    def _inside(self, x):
        u = 0.091 * x**2
        return 0.5 * special.beta(1.5, 6.5) * special.betainc(1.5, 6.5, u / (1 + u)) / 0.091**1.5


@dataclass(frozen=True)
class Zhao(Profile):
    """rho_s x^-gamma (1 + x^alpha)^((gamma - beta)/alpha), Zhao 1996 (arXiv:astro-ph/9509122).

    (2, 5, 0) is a Plummer sphere, (1, 3, 1) an NFW halo, (1, 3, 0) a cored one. With beta <= 3 the mass has no end.

    Attributes:
        alpha: how sharply the slope turns.
        beta: slope outside.
        gamma: slope inside, below 3.
    """

    alpha: float = 2.0
    beta: float = 5.0
    gamma: float = 0.0

    def __post_init__(self):
        checks.numbers(self, rho_s=(0, checks.MOST), r_s=(checks.ABOVE_0, checks.MOST), alpha=(0.1, 20))
        checks.numbers(self, beta=(0, 50), gamma=(0, float(np.nextafter(3, 0))))

    def slope(self, r) -> np.ndarray:
        """(...) d ln density / d ln r."""
        power = (np.asarray(r, float) / self.r_s) ** self.alpha
        return -self.gamma - (self.beta - self.gamma) * power / (1 + power)

    def bend(self, r) -> np.ndarray:
        """(...) d^2 ln density / d ln r^2."""
        power = (np.asarray(r, float) / self.r_s) ** self.alpha
        return -(self.beta - self.gamma) * self.alpha * power / (1 + power) ** 2

    def _shape(self, x):
        return x**-self.gamma * (1 + x**self.alpha) ** ((self.gamma - self.beta) / self.alpha)

    def _inside(self, x):
        k = (3 - self.gamma) / self.alpha
        return (
            x ** (3 - self.gamma)
            / (3 - self.gamma)
            * special.hyp2f1(k, (self.beta - self.gamma) / self.alpha, k + 1, -(x**self.alpha))
        )


@dataclass(frozen=True)
class CoreNFW(Profile):
    """An NFW halo whose mass is times tanh(r/core)^strength; Read, Agertz & Collins 2016 (arXiv:1508.04143).

    Attributes:
        core: radius of the core, kpc.
        strength: n; 1 makes a full core, 0 leaves the cusp.
    """

    core: float = 0.5
    strength: float = 1.0
    shapes: ClassVar[dict[str, tuple[float, float]]] = {"core": (0.01, 5.0), "strength": (0.0, 1.0)}

    def _shape(self, x):
        t, n = x * self.r_s / self.core, self.strength
        f = np.tanh(t)
        cusp = np.log1p(x) - x / (1 + x)
        more = n * f ** (n - 1) / np.cosh(np.minimum(t, 300)) ** 2 * cusp / x**2 * self.r_s / self.core
        return f**n / (x * (1 + x) ** 2) + more

    def _inside(self, x):
        return (np.log1p(x) - x / (1 + x)) * np.tanh(x * self.r_s / self.core) ** self.strength


def along_sight(r, values, distance: float, angle: float) -> np.ndarray:
    """Integral of a spherical density over the lines of sight within an angle, over the distance squared.

    Args:
        r: (M,) kpc, rising; as even in its logarithm as `numpy.geomspace` gives it. Within r[0] the first
            value stays, so that steep cusps have an end; nothing lies beyond r[-1].
        values: (..., M) density, per kpc^3.
        distance: of the centre, kpc; the whole profile is small against it.
        angle: radius of the cone, deg.

    Returns:
        (...) as ``values``, times kpc.

    Raises:
        ValueError: for a distance or an angle that is not positive.
    """
    checks.number("distance", distance, checks.ABOVE_0)
    R = distance * np.tan(np.deg2rad(checks.number("angle", angle, checks.ABOVE_0, 90 - 1e-6)))
    r, values = np.asarray(r, float), np.asarray(values, float)
    # A shell of radius r > R has 1 - sqrt(1 - R^2/r^2) of its volume within the cylinder: a kink at r = R.
    fine = np.unique(np.concatenate([np.geomspace(r[0], r[-1], 4000), R * (1 + np.geomspace(1e-6, 1, 400))]))
    fine = fine[fine <= r[-1]]
    inside = np.sqrt(np.clip(1 - (R / fine) ** 2, 0, None))
    flat = np.log(np.maximum(values, 1e-300)).reshape(-1, len(r))
    out = np.empty(len(flat))
    for i, row in enumerate(flat):
        shell = fine**3 * np.exp(np.interp(np.log(fine), np.log(r), row)) * np.where(fine > R, 1 - inside, 1.0)
        out[i] = np.trapezoid(shell, np.log(fine)) + (r[0] ** 3 * np.exp(row[0]) / 3 if r[0] < R else 0.0)
    return 4 * np.pi / distance**2 * out.reshape(values.shape[:-1])


def j_factor(r, density, distance: float, angle: float = 0.5) -> np.ndarray:
    """Integral of density^2 over a cone, GeV^2 cm^-5: what annihilation shines with.

    Args:
        r, density: (M,) kpc and (..., M) Msun/kpc^3, see `along_sight`.
        distance: kpc.
        angle: radius of the cone, deg.
    """
    return PER_J * along_sight(r, np.asarray(density, float) ** 2, distance, angle)


def d_factor(r, density, distance: float, angle: float = 0.5) -> np.ndarray:
    """Integral of the density over a cone, GeV cm^-2: what decay shines with; arguments of `j_factor`."""
    return PER_D * along_sight(r, density, distance, angle)


def factors(r, density, distance: float, angle: float, quantiles) -> dict[str, tuple[str, np.ndarray, dict[str, str]]]:
    """J and D of several densities (S, M), as variables of an xarray Dataset over quantile; arguments of `j_factor`."""
    found = {"J": (j_factor(r, density, distance, angle), J_UNIT), "D": (d_factor(r, density, distance, angle), D_UNIT)}
    return {
        name: (
            "quantile",
            np.quantile(values, quantiles, method="weibull"),  # unbiased for few densities
            {"units": unit, "long_name": f"{name}-factor within {angle:g} deg"},
        )
        for name, (values, unit) in found.items()
    }
