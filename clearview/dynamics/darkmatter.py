"""The baryons near the Sun with their errors, and the dark matter that is left.

In the plane the baryons are nine tenths of the density and their error is that of the dark matter; at 1.5 kpc they
are less than a tenth. So the local dark matter is fitted at 1 < |z| < 1.8 kpc, and the midplane value stands apart.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import xarray as xr
from scipy.special import erf, log_ndtr

from clearview.dynamics.density import KERNEL, PER_PC3, TRUNCATION, density_field, mass_density, smooth
from clearview.dynamics.fields import slice_points
from clearview.dynamics.profiles import surface_density
from clearview.dynamics.series import PotentialSeries, formal_members
from clearview.field import Axis, Quantity
from clearview.units import SUN

GEV_PER_CM3 = 0.02633
"""Msun/pc^3 in one GeV/cm^3."""

SYSTEMATIC = 0.1
"""Fractional error taken for the total density of a map, of the size of its bias against known potentials."""

CORRELATION = 0.5
"""Over this difference of |z| [kpc] that error is the same."""

Profile = Literal["exp", "sech2", "gaussian"]


@dataclass(frozen=True)
class Component:
    """One kind of stars or gas: a disc, exponential in radius, with its surface density given at R0.

    Attributes:
        name: of it.
        surface: surface density at R0 through the whole disc, Msun/pc^2.
        surface_error: its standard error.
        height: kpc; "exp" exp(-|z|/height), "sech2" sech^2(z/(2 height)) (the same far from the plane), "gaussian"
            exp(-z^2/(2 height^2)).
        height_error: kpc.
        profile: of the three.
        length: radial scale length, kpc.
        length_error: kpc.
    """

    name: str
    surface: float
    surface_error: float
    height: float
    height_error: float
    profile: Profile = "exp"
    length: float = 2.6
    length_error: float = 0.5

    def __post_init__(self):
        if self.profile not in ("exp", "sech2", "gaussian"):
            raise ValueError(f"Expected the profile exp, sech2 or gaussian, got {self.profile!r}; choose one of them.")
        if not (self.height > 0 and self.length > 0):
            raise ValueError(f"Expected a height and a length above 0, got {self.height}, {self.length}; correct them.")

    @property
    def midplane(self) -> float:
        """Density at R0 in the plane, Msun/pc^3."""
        return self.surface * float(self._vertical(np.zeros(1))[0]) * 1e-3

    def with_midplane(self, density: float, error: float) -> "Component":
        """The same with this density at R0 in the plane and its error, Msun/pc^3, in place of the surface density."""
        factor = self.surface / self.midplane
        return replace(self, surface=density * factor, surface_error=error * factor)

    def density(self, x, R0: float) -> np.ndarray:
        """(N,) Msun/kpc^3 at x (N, 3) [kpc]."""
        x = np.asarray(x, float)
        R = np.hypot(x[:, 0], x[:, 1])
        return self.surface * 1e6 * self._vertical(x[:, 2]) * np.exp((R0 - R) / self.length)

    def column(self, z, R0: float) -> np.ndarray:
        """(N,) Msun/pc^2 between -z and z at R0."""
        u = np.abs(np.asarray(z, float)) / self.height
        if self.profile == "exp":
            return -self.surface * np.expm1(-u)
        return self.surface * (np.tanh(u / 2) if self.profile == "sech2" else erf(u / np.sqrt(2)))

    def draw(self, rng: np.random.Generator) -> "Component":
        """A copy with its numbers drawn within their errors; none goes below a tenth of its value."""
        s, h, length = (
            max(value + error * rng.standard_normal(), 0.1 * value)
            for value, error in (
                (self.surface, self.surface_error),
                (self.height, self.height_error),
                (self.length, self.length_error),
            )
        )
        return replace(self, surface=s, height=h, length=length)

    def _vertical(self, z):
        """Normalised to 1, 1/kpc."""
        u = np.abs(z) / self.height
        if self.profile == "exp":
            return np.exp(-u) / (2 * self.height)
        if self.profile == "sech2":
            return 1 / (4 * self.height * np.cosh(np.minimum(u / 2, 300)) ** 2)
        return np.exp(-0.5 * u**2) / (np.sqrt(2 * np.pi) * self.height)


@dataclass(frozen=True)
class AnyComponent:
    """A component of any shape, known up to a factor.

    Attributes:
        name: of it.
        function: of positions (N, 3) [kpc], giving its density (N,) [Msun/kpc^3].
        error: of the factor.
        factor: the density is this times ``function``.
    """

    name: str
    function: Callable[[np.ndarray], np.ndarray] = field(repr=False)
    error: float = 0.1
    factor: float = 1.0

    def density(self, x, R0: float) -> np.ndarray:
        """(N,) Msun/kpc^3 at x (N, 3) [kpc]."""
        return self.factor * np.asarray(self.function(np.asarray(x, float)), float)

    def column(self, z, R0: float) -> np.ndarray:
        """(N,) Msun/pc^2 between -z and z at R0, by quadrature."""
        z = np.abs(np.asarray(z, float))
        # Nodes crowd at the plane, where gas is thin.
        node, weight = np.polynomial.legendre.leggauss(48)
        t = 0.5 * (node + 1)
        heights = (z[:, None] * t**2).ravel()
        x = np.stack([np.full(heights.size, R0), np.zeros(heights.size), heights], axis=-1)
        both = self.density(x, R0) + self.density(x * [1, 1, -1], R0)
        return 1e-6 * z * (both.reshape(len(z), -1) @ (weight * t))

    def draw(self, rng: np.random.Generator) -> "AnyComponent":
        """A copy with its factor drawn within its error, not below a tenth."""
        return replace(self, factor=max(self.factor + self.error * rng.standard_normal(), 0.1 * self.factor))


Part = Component | AnyComponent

MCKEE_2015 = (
    Component("H2", 1.0, 0.3, 0.074, 0.010, "gaussian", 2.0, 1.0),
    Component("cold HI", 6.2, 1.2, 0.090, 0.015, "gaussian", 10.0, 5.0),
    Component("warm HI", 2.5, 0.7, 0.225, 0.035, "gaussian", 10.0, 5.0),
    Component("warm HI, extended", 2.2, 0.6, 0.403, 0.060, "exp", 10.0, 5.0),
    Component("HII", 1.8, 0.1, 1.590, 0.250, "exp", 10.0, 5.0),
    Component("M dwarfs", 15.4, 2.3, 0.374, 0.045, "exp"),
    Component("other main sequence and giants", 8.7, 1.4, 0.317, 0.040, "exp"),
    Component("white dwarfs", 4.4, 0.6, 0.402, 0.050, "exp"),
    Component("brown dwarfs", 1.1, 0.4, 0.374, 0.060, "exp"),
    Component("neutron stars and black holes", 0.3, 0.1, 0.374, 0.100, "exp"),
    Component("thick disc", 3.6, 1.1, 0.900, 0.180, "exp", 2.0, 0.2),
)
"""Stars and gas near the Sun after McKee, Parravano & Hollenbach 2015 (arXiv:1509.05334): 47.2 Msun/pc^2, and 0.084
Msun/pc^3 in the plane.

Theirs are the sums with their errors (M dwarfs 17.3 +- 2.3, visible stars 27.0 +- 2.7, white dwarfs 4.9 +- 0.6, brown
dwarfs about 1.2, stars and remnants 33.4 +- 3, gas 13.7 +- 1.6, all 47.1 +- 3.4 Msun/pc^2) and the Gaussian of H2 (Dame
et al. 1987). Approximate are the split of HI, all other heights and every error of a height, the radial lengths, and
the thick disc, which McKee et al. do not part from the rest: 12 +- 4 per cent of the thin disc's surface density and
0.9 +- 0.18 kpc high (Bland-Hawthorn & Gerhard 2016, arXiv:1602.07702), taken here out of each stellar component in
proportion, with heights lowered so that the density in the plane stays."""


@dataclass(frozen=True)
class BaryonModel:
    """The baryons as a sum of components, all editable.

    Attributes:
        components: of `Component` or `AnyComponent`.
        R0: radius at which their surface densities hold, kpc.
        shared_error: fractional error common to all components, on top of their own.
        scale: all components are multiplied by this.
    """

    components: tuple[Part, ...] = MCKEE_2015
    R0: float = SUN.R
    shared_error: float = 0.0
    scale: float = 1.0

    def __post_init__(self):
        names = [c.name for c in self.components]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"Expected components of different names, got {', '.join(names) or 'none'}; rename them.")

    def density(self, x) -> np.ndarray:
        """(N,) Msun/kpc^3 at x (N, 3) [kpc]."""
        return self.scale * np.sum([c.density(x, self.R0) for c in self.components], axis=0)

    def surface_density(self, z) -> np.ndarray:
        """(N,) Msun/pc^2 between -z and z (N,) [kpc] at R0."""
        return self.scale * np.sum([c.column(z, self.R0) for c in self.components], axis=0)

    def draw(self, rng: np.random.Generator, n: int) -> list["BaryonModel"]:
        """n copies with every number drawn within its error."""
        return [
            replace(
                self,
                components=tuple(c.draw(rng) for c in self.components),
                scale=self.scale * max(1 + self.shared_error * rng.standard_normal(), 0.1),
            )
            for _ in range(n)
        ]

    def edit(self, name: str, **changes) -> "BaryonModel":
        """A copy with numbers of one component changed: ``model.edit("thick disc", height=0.8)``.

        Raises:
            ValueError: for a name that no component has.
        """
        names = [c.name for c in self.components]
        if name not in names:
            raise ValueError(f"Expected a component among {', '.join(names)}, got {name!r}; choose one of them.")
        return replace(self, components=tuple(replace(c, **changes) if c.name == name else c for c in self.components))


@dataclass(frozen=True)
class LocalDarkMatter:
    """The dark matter near the Sun, Msun/pc^3.

    Attributes:
        density: mean over the fitted places, from ``heights`` above and below the plane at R0.
        error: its standard error, ``error_parts`` in quadrature.
        error_parts: of baryons, systematic, formal (of a map), members (if given), slope, and scatter (of the columns'
            means).
        at_plane: ``density`` carried down to the plane by the assumed slope; ``at_plane_error`` contains the slope's.
        midplane: total less baryons in the plane itself, a weak number of its own; ``midplane_error``.
        total: (N,) total density at the places.
        baryons: (N,) mean baryons there, smoothed as the total.
        places: (N, 3) kpc.
        scatter: root mean square of the places about the fit.
        heights: kpc.
    """

    density: float
    error: float
    error_parts: Mapping[str, float]
    at_plane: float
    at_plane_error: float
    midplane: float
    midplane_error: float
    total: np.ndarray
    baryons: np.ndarray
    places: np.ndarray
    scatter: float
    heights: tuple[float, float]

    @property
    def gev(self) -> tuple[float, float]:
        """``density`` and ``error`` in GeV/cm^3."""
        return self.density / GEV_PER_CM3, self.error / GEV_PER_CM3

    def __str__(self) -> str:
        low, high = self.heights
        return (
            f"Dark matter at {low:g} < |z| < {high:g} kpc: {self.density:.4f} ± {self.error:.4f} Msun/pc³ = "
            f"{self.gev[0]:.2f} ± {self.gev[1]:.2f} GeV/cm³; in the plane, total less baryons: "
            f"{self.midplane:.3f} ± {self.midplane_error:.3f} Msun/pc³."
        )


def local_dark_matter(
    source,
    baryons: BaryonModel | None = None,
    heights: tuple[float, float] = (1.0, 1.8),
    R0: float = SUN.R,
    *,
    azimuth: float = 10.0,
    slope: float = 1.7,
    slope_error: float = 0.5,
    systematic: float = SYSTEMATIC,
    correlation: float = CORRELATION,
    members: Sequence | None = None,
    kernel: Sequence[float] = KERNEL,
    truncation: float = TRUNCATION,
    draws: int = 200,
    seed: int = 0,
) -> LocalDarkMatter:
    """Fit the dark matter to the total density off the plane.

    At places 1 to 1.8 kpc above and below the plane the smoothed total density is baryons, with the mean and the
    covariance of their prior, plus dark matter of one amplitude that falls as r^-slope (an NFW halo of 16 kpc has 1.7
    at the Sun; 0 is constant). The amplitude is that of plain least squares and its error the propagated covariance of
    all parts: weights from that covariance would trust the shape of errors that are only guessed.

    Args:
        source: as for `mass_density`.
        baryons: their prior; by default `MCKEE_2015`.
        heights: lowest and highest |z|, kpc.
        R0: radius, kpc.
        azimuth: three columns are taken, at the Sun's azimuth and this far on either side, deg; 0 takes one.
        slope, slope_error: of the dark matter, -d ln rho/d ln r.
        systematic: fractional error of the total density beyond what members show, the same on both sides of the
            plane and in all columns.
        correlation: difference of |z| over which it is the same, kpc.
        members: two or more sources of an ensemble, whose spread is added to the errors, beside that of 32 maps drawn
            from what the source's own fit leaves open.
        kernel, truncation: as for `mass_density`.
        draws: of the baryons.
        seed: of these draws and of the maps'.

    Raises:
        ValueError: for heights out of order, no errors at all, a single member, or places of which some reach outside
            the source's ball.
    """
    baryons = BaryonModel() if baryons is None else baryons
    low, high = heights
    if not 0 <= low < high:
        raise ValueError(f"Expected heights from low to high above 0, got {heights}; correct them.")
    if not (systematic > 0 and correlation > 0):
        raise ValueError(f"Expected a systematic error and a length above 0, got {systematic}, {correlation}.")
    z = np.concatenate([-(up := np.linspace(low, high, 9))[::-1], up])
    phi = np.deg2rad(azimuth * np.array([-1, 0, 1]) if azimuth else np.zeros(1))
    x = np.array([[R0 * np.cos(p), R0 * np.sin(p), h] for p in phi for h in z] + [[R0, 0, 0]])  # the plane comes last
    total = _total(source, x, kernel, truncation)

    mean, covariance = _smoothed_baryons(baryons, x, kernel, truncation, draws, seed)
    parts = {"baryons": covariance, "systematic": _coherent(systematic * total, x[:, 2], correlation)}
    if isinstance(getattr(source, "series", None), PotentialSeries):
        drawn = formal_members(source, seed=seed)
        parts["formal"] = _member_covariance([_total(m, x, kernel, truncation) for m in drawn])
    if members is not None:
        parts["members"] = _member_covariance([_total(m, x, kernel, truncation) for m in members])
    r = np.linalg.norm(x, axis=-1)

    def shape(k):
        return r**-k / np.mean(r[:-1] ** -k)

    template, data = shape(slope), total - mean
    weight = template[:-1] / (template[:-1] @ template[:-1])
    amplitude = float(weight @ data[:-1])
    tilt = 0.5 * amplitude * (shape(slope + slope_error) - shape(slope - slope_error))
    parts["slope"] = np.outer(tilt, tilt)
    errors = {name: float(np.sqrt(weight @ c[:-1, :-1] @ weight)) for name, c in parts.items()}
    left = (data[:-1] - amplitude * template[:-1]).reshape(len(phi), 2, -1)
    columns = left.mean(-1).ravel()  # each above or below the plane
    errors["scatter"] = float(columns.std(ddof=1) / np.sqrt(columns.size))
    error = float(np.linalg.norm(list(errors.values())))
    return LocalDarkMatter(
        density=amplitude,
        error=error,
        error_parts=errors,
        at_plane=amplitude * float(template[-1]),
        at_plane_error=float(np.hypot(error * template[-1], tilt[-1])),
        midplane=float(data[-1]),
        midplane_error=float(np.sqrt(sum(parts[n][-1, -1] for n in parts if n != "slope"))),
        total=total[:-1],
        baryons=mean[:-1],
        places=x[:-1],
        scatter=float(left.std()),
        heights=(low, high),
    )


def dark_matter_field(
    source,
    axes: Sequence[Axis],
    fixed: Mapping[str, float],
    baryons: BaryonModel | None = None,
    *,
    kernel: Sequence[float] = KERNEL,
    truncation: float = TRUNCATION,
) -> xr.Dataset:
    """Total density, baryons and what is left on a slice, all smoothed with one kernel.

    Args:
        source, axes, fixed, kernel, truncation: as for `density_field`.
        baryons: by default `MCKEE_2015`.

    Returns:
        density, baryons, dark_matter [Msun/pc^3]; NaN where the kernel reaches outside the ball.

    Raises:
        ValueError: as `density_field`.
    """
    baryons = BaryonModel() if baryons is None else baryons
    made = density_field(source, axes, fixed, kernel=kernel, truncation=truncation)
    points = slice_points(axes, fixed)
    known = smooth(baryons.density, points.reshape(-1, 3), kernel, truncation).reshape(points.shape[:-1]) * PER_PC3
    known = np.where(np.isnan(made.density), np.nan, known).astype(np.float32)
    for name, q in {
        "baryons": Quantity(known, "Msun pc-3", "baryon density"),
        "dark_matter": Quantity(made.density.to_numpy() - known, "Msun pc-3", "dark-matter density"),
    }.items():
        made[name] = (made.density.dims, q.values, {"units": q.units, "long_name": q.label})
    return made.assign_attrs(baryon_components=", ".join(c.name for c in baryons.components))


def thin_disc_limit(
    source,
    baryons: BaryonModel | None = None,
    height: float = 0.05,
    *,
    using: Literal["force", "density"] = "force",
    R0: float = SUN.R,
    level: float = 0.95,
    systematic: float = 0.05,
    correlation: float = CORRELATION,
    kernel: Sequence[float] = KERNEL,
    truncation: float = TRUNCATION,
    draws: int = 400,
    seed: int = 0,
) -> float:
    """Upper limit on the surface density of a thin dark disc, sech^2(z/(2 height)), Msun/pc^2.

    The disc stands beside baryons with the covariance of their prior and a halo of constant density; the surface
    density of either is not negative. What limits it is mostly the baryon model (Schutz et al. 2018,
    arXiv:1711.03103; Buch et al. 2019, arXiv:1808.05603).

    Args:
        source: as for `mass_density`.
        baryons: their prior; by default `MCKEE_2015`.
        height: of the disc, kpc.
        using: "force" fits the surface density inside |z| from K_z (see `surface_density`), which keeps the sharpness
            that a kernel takes; "density" fits the kernel-smoothed density. Both at |z| up to 1.5 kpc.
        R0: radius, kpc.
        level: of the limit, of the posterior with a flat prior on the surface density above 0.
        systematic, correlation: fractional error of the measured profile and the height over which it is the same.
        kernel, truncation: as for `mass_density`.
        draws, seed: of the baryons.

    Raises:
        ValueError: for another ``using`` or level, or places of which some reach outside the source's ball.
    """
    baryons = BaryonModel() if baryons is None else baryons
    if using not in ("force", "density") or not 0 < level < 1:
        raise ValueError(f"Expected using force or density and a level below 1, got {using!r}, {level}; correct them.")
    disc = Component("thin dark disc", 1.0, 0.0, height, 0.0, "sech2", 1e6)
    halo = AnyComponent("halo", lambda x: np.full(len(x), 1e9))
    z = np.linspace(0.1, 1.5, 15)
    if using == "force":
        data = surface_density(source, z, R=R0)
        if np.isnan(data).any():
            raise ValueError(f"Expected |z| up to 1.5 kpc at {R0:g} kpc inside the ball, got outside; choose R0 anew.")
        templates = np.stack([c.column(z, R0) for c in (disc, halo)])
        drawn = _drawn(lambda c: c.column(z, baryons.R0), baryons, draws, seed)
        mean, covariance = drawn.mean(0), np.cov(drawn.T)
    else:
        z = np.concatenate([[0.0], z])
        x = np.stack([np.full(len(z), R0), np.zeros(len(z)), z], axis=-1)
        data = _total(source, x, kernel, truncation)
        templates = np.stack(
            [smooth(lambda p, c=c: c.density(p, R0), x, kernel, truncation) * PER_PC3 for c in (disc, halo)]
        )
        mean, covariance = _smoothed_baryons(baryons, x, kernel, truncation, draws, seed)
    inverse = np.linalg.inv(covariance + _coherent(systematic * data, z, correlation))
    errors = np.linalg.inv(templates @ inverse @ templates.T)
    best = errors @ (templates @ inverse @ (data - mean))
    return _upper(best, errors, level)


def _upper(best: np.ndarray, covariance: np.ndarray, level: float) -> float:
    """The level of the first of two Gaussian amplitudes that are both not negative."""
    sigma = np.sqrt(np.diag(covariance))
    value = np.linspace(0, max(best[0], 0) + 12 * sigma[0], 20001)
    shift = covariance[0, 1] / covariance[0, 0] * (value - best[0])
    narrow = np.sqrt(max(covariance[1, 1] - covariance[0, 1] ** 2 / covariance[0, 0], 1e-300))
    log_p = -0.5 * ((value - best[0]) / sigma[0]) ** 2 + log_ndtr((best[1] + shift) / narrow)
    mass = np.cumsum(np.exp(log_p - log_p.max()))
    return float(np.interp(level, mass / mass[-1], value))


def _total(source, x, kernel, truncation) -> np.ndarray:
    """(N,) Msun/pc^3, all of it."""
    rho = mass_density(source, x, "gauss", kernel, truncation) * PER_PC3
    if np.isnan(rho).any():
        raise ValueError(
            f"Expected all {len(x)} places and their kernels inside the ball of {source.radius:g} kpc, got "
            f"{int(np.isnan(rho).sum())} that reach outside; use lower heights or a smaller kernel."
        )
    return rho


def _coherent(error: np.ndarray, z: np.ndarray, length: float) -> np.ndarray:
    """Covariance of errors that are alike over a length in |z|; a hundredth stays uncorrelated."""
    apart = np.abs(z)[:, None] - np.abs(z)
    return error[:, None] * error * (0.99 * np.exp(-0.5 * (apart / length) ** 2) + 0.01 * np.eye(len(z)))


def _drawn(profile: Callable[[Part], np.ndarray], baryons: BaryonModel, draws: int, seed: int) -> np.ndarray:
    """(draws, N) a profile, linear in the density, of the baryons drawn within their errors."""
    # Drawing only rescales an AnyComponent, and its function may be dear.
    unit = {c.name: profile(replace(c, factor=1.0)) for c in baryons.components if isinstance(c, AnyComponent)}

    def total(model: BaryonModel) -> np.ndarray:
        parts = [c.factor * unit[c.name] if isinstance(c, AnyComponent) else profile(c) for c in model.components]
        return model.scale * np.sum(parts, axis=0)

    return np.stack([total(model) for model in baryons.draw(np.random.default_rng(seed), draws)])


def _smoothed_baryons(baryons, x, kernel, truncation, draws, seed) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the baryons' smoothed density [Msun/pc^3]; the draws use the cheap quadrature."""

    def at(part: Part | None, fine: bool) -> np.ndarray:
        function = baryons.density if part is None else lambda p: part.density(p, baryons.R0)
        return smooth(function, x, kernel, truncation, fine=fine) * PER_PC3

    drawn = _drawn(lambda part: at(part, False), baryons, draws, seed)
    return drawn.mean(0) + at(None, True) - at(None, False), np.cov(drawn.T)


def _member_covariance(values: Sequence[np.ndarray]) -> np.ndarray:
    if len(values) < 2:
        raise ValueError(f"Expected at least two members, got {len(values)}; leave members out for a single map.")
    return np.cov(np.stack(values).T)
