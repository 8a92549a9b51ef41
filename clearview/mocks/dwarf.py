"""Dwarf spheroidal galaxies in equilibrium: stars of a known density in a halo of another, drawn from f(E, L).

The distribution function is that of Osipkov (1979) and Merritt (1985), f(Q) with Q = Psi - v^2/2 - L^2 / (2 r_a^2), by
Eddington's inversion of the density times 1 + r^2/r_a^2 (Binney & Tremaine 2008, section 4.3): isotropic within r_a and
radial outside, beta(r) = r^2 / (r^2 + r_a^2). Stars have no mass.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from astropy import units as u
from scipy.interpolate import CubicSpline

from clearview import checks
from clearview.catalogs import Catalog
from clearview.halos import Burkert, CoreNFW, Profile, Soliton, Zhao
from clearview.halos import d_factor as d_of
from clearview.halos import j_factor as j_of
from clearview.units import G

PLUMMER = Zhao(1.0, 0.25, 2.0, 5.0, 0.0)
TRACER = Zhao(1.0, 0.25, 2.0, 5.0, 0.1)
CORE = Zhao(4e8, 1.0, 1.0, 3.0, 0.0)
CUSP = Zhao(6.4e7, 1.0, 1.0, 3.0, 1.0)
"""The halos and, with its slope of 0.1, the tracer of the Gaia Challenge (Read et al. 2021, arXiv:2011.09493), whose
Plummer spheres have it because isotropic stars without any slope cannot be at rest in a cusp."""

HALOS = {kind.__name__: kind for kind in (Zhao, CoreNFW, Burkert, Soliton)}

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)
_FEW = 1e-6  # of the stars: within the radius that holds so many, f is constant
_REACH = 1e4  # of the tables, in scale radii of the stars


@dataclass(frozen=True)
class DwarfTruth:
    """A galaxy of which everything is known.

    Attributes:
        tracer: number density of the stars; its ``rho_s`` does not matter.
        halo: density of the mass, Msun/kpc^3.
        anisotropy: radius r_a of Osipkov and Merritt, kpc; None is isotropic.

    Raises:
        TypeError: for what are no profiles.
        ValueError: for tracers without end (beta <= 3), an anisotropy radius that is not positive, or no positive f(Q).
    """

    tracer: Zhao = TRACER
    halo: Profile = CORE
    anisotropy: float | None = None

    def __post_init__(self):
        checks.a(self.tracer, Zhao, "the tracer as a Zhao")
        checks.a(self.halo, Profile, "the halo as a profile")
        checks.numbers(self, optional=True, anisotropy=(checks.ABOVE_0, 1e6))
        for name in ("rho_s", "r_s"):
            checks.number(f"{name} of the halo", getattr(self.halo, name), checks.ABOVE_0)
        if self.tracer.beta <= 3:
            raise ValueError(
                f"Expected tracers that fall off as r^-beta, beta > 3, got {self.tracer.beta:g}; raise it."
            )
        if (wrong := np.flatnonzero(np.isnan(self._tables[1]))).size:
            r = float(np.exp(self._ln_r[wrong[-1]]))
            raise ValueError(
                f"Expected a galaxy with f(Q) >= 0, got a negative one for the energy at {r:.2g} kpc; raise the "
                "anisotropy radius or the tracers' gamma."
            )

    @cached_property
    def _ln_r(self) -> np.ndarray:
        return np.log(self.tracer.r_s) + np.linspace(np.log(1e-5), np.log(_REACH), 2400)

    @cached_property
    def _depth(self) -> CubicSpline:
        """ln of Psi(0) - Psi(r) [(km/s)^2] against ln r."""
        t = self._ln_r
        pull = G * self.halo.mass(np.exp(t)) / np.exp(t)
        inner = np.log(pull[1] / pull[0]) / (t[1] - t[0])  # the power law goes on to the centre
        return CubicSpline(t, np.log(CubicSpline(t, pull).antiderivative()(t) + pull[0] / inner))

    @cached_property
    def _tables(self) -> tuple[np.ndarray, np.ndarray]:
        """ln of Psi(0) - Q [(km/s)^2] and of f(Q), at the radii whose potential is Q; NaN where f is not positive."""
        t, stars = self._ln_r, self.tracer
        # With r' = r exp(y^2) the root in the denominator becomes smooth.
        far = np.sqrt(t[-1] + np.log(10.0) - t[:-200, None])
        y = far / 2 * (_NODES + 1)
        r = np.exp(t[:-200, None] + y**2)
        a = 0.0 if self.anisotropy is None else self.anisotropy**-2.0
        more = 1 + a * r**2
        # nu = n (1 + r^2/r_a^2), by ln r: first and second derivatives, relative.
        twist = 2 * a * r**2 / more
        first = stars.slope(r) + twist
        second = stars.bend(r) + 2 * twist * (1 - twist / 2) + first**2
        pull = G * self.halo.mass(r) / r  # -dPsi/dln r
        bend = 4 * np.pi * G * self.halo.density(r) * r**2 / pull - 1  # d ln pull / d ln r
        curve = stars.density(r) * more * (second - bend * first) / pull**2  # d^2 nu / dPsi^2
        with np.errstate(over="ignore"):
            gap = np.exp(self._depth(np.minimum(np.log(r), t[-1]))) - np.exp(self._depth(t[:-200, None]))
        # Beyond the table the mass is as good as a point's.
        beyond = np.log(r) > t[-1]
        gap = gap + np.where(beyond, G * self.halo.mass(r) * (np.exp(-t[-1]) - 1 / r), 0.0)
        f = (_WEIGHTS * curve * pull * 2 * y / np.sqrt(np.maximum(gap, 1e-300))).sum(1) * far[:, 0] / 2
        f /= np.sqrt(8) * np.pi**2
        noise = 1e-9 * np.abs(_WEIGHTS * curve * pull * 2 * y / np.sqrt(np.maximum(gap, 1e-300))).sum(1)
        ln_f = np.where(f > noise, np.log(np.maximum(f, 1e-300)), np.nan)
        # Where nobody is, f may be anything: a halo's kink at r = 0 alone makes it negative there.
        few = np.searchsorted(stars.mass(np.exp(t)), _FEW * stars.mass(np.exp(t[-1])))
        ln_f[:few] = ln_f[few]
        return self._depth(t[:-200]), ln_f

    def f(self, r) -> np.ndarray:
        """(...) distribution function at Q = Psi(r), per kpc^3 (km/s)^3, for the tracer's ``rho_s``."""
        depth, ln_f = self._tables
        return np.exp(np.interp(self._depth(np.log(np.asarray(r, float))), depth, ln_f))

    def density(self, r) -> np.ndarray:
        """(...) mass density, Msun/kpc^3, at r [kpc]."""
        return self.halo.density(r)

    def mass(self, r) -> np.ndarray:
        """(...) Msun within r."""
        return self.halo.mass(r)

    def slope(self, r) -> np.ndarray:
        """(...) d ln rho / d ln r."""
        return self.halo.slope(r)

    def circular_velocity(self, r) -> np.ndarray:
        """(...) km/s."""
        return self.halo.circular_velocity(r)

    def beta(self, r) -> np.ndarray:
        """(...) anisotropy 1 - sigma_t^2 / sigma_r^2."""
        r = np.asarray(r, float)
        return np.zeros_like(r) if self.anisotropy is None else r**2 / (r**2 + self.anisotropy**2)

    def tracer_density(self, r) -> np.ndarray:
        """(...) stars per kpc^3, of one star in all."""
        return self.tracer.density(r) / self.tracer.mass(1e8 * self.tracer.r_s)

    def surface_density(self, R) -> np.ndarray:
        """(...) stars per kpc^2 on the sky at R [kpc], of one star in all."""
        r, weight = _sight(R)
        return (weight * self.tracer_density(r)).sum(-1)

    @cached_property
    def half_light_radius(self) -> float:
        """Radius of the circle that holds half of the stars on the sky, kpc."""
        R = self.tracer.r_s * np.geomspace(1e-3, 1e3, 2000)
        inside = CubicSpline(np.log(R), 2 * np.pi * R**2 * self.surface_density(R)).antiderivative()(np.log(R))
        return float(np.interp(0.5, inside + np.pi * R[0] ** 2 * self.surface_density(R[:1]), R))

    def sigma_r(self, r) -> np.ndarray:
        """(...) radial velocity dispersion, km/s, by Jeans' equation."""
        r = np.asarray(r, float)
        a = 0.0 if self.anisotropy is None else self.anisotropy**-2.0
        t = np.log(_REACH) / 2 * (_NODES + 1)
        s = r[..., None] * np.exp(t)
        held = self.tracer.density(s) * (1 + a * s**2) * G * self.halo.mass(s) / s
        pressure = (_WEIGHTS * held).sum(-1) * np.log(_REACH) / 2
        return np.sqrt(pressure / (self.tracer.density(r) * (1 + a * r**2)))

    def sigma_los(self, R) -> np.ndarray:
        """(...) dispersion of the line-of-sight velocity at R [kpc] on the sky, km/s."""
        R = np.asarray(R, float)
        r, weight = _sight(R)
        stars = weight * self.tracer_density(r)
        seen = 1 - self.beta(r) * (R[..., None] / r) ** 2
        return np.sqrt((stars * seen * self.sigma_r(r) ** 2).sum(-1) / stars.sum(-1))

    def j_factor(self, distance: float, angle: float = 0.5, edge: float = 100.0) -> float:
        """Integral of density^2 within ``angle`` [deg] at ``distance`` [kpc] and ``edge`` [kpc], GeV^2 cm^-5."""
        r = np.geomspace(1e-6, edge, 2000)
        return float(j_of(r, self.density(r), distance, angle))

    def d_factor(self, distance: float, angle: float = 0.5, edge: float = 100.0) -> float:
        """Integral of the density within ``angle`` [deg] at ``distance`` [kpc] and ``edge`` [kpc], GeV cm^-2."""
        r = np.geomspace(1e-6, edge, 2000)
        return float(d_of(r, self.density(r), distance, angle))

    def sample(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """x (n, 3) [kpc] and v (n, 3) [km/s] of n stars."""
        t = self._ln_r
        inside = self.tracer.mass(np.exp(t))
        t_star = np.interp(rng.random(n) * inside[-1], inside, t)
        depth, ln_f = self._tables
        bottom, edge = np.exp(self._depth(t_star)), np.exp(depth[-1])
        top = np.sqrt(2 * (edge - bottom).clip(0))
        # As if isotropic in (v_r, v_t sqrt(1 + r^2/r_a^2)), whose length w has p(w) ~ w^2 f(Psi - w^2/2).
        speed = np.empty(n)
        for rows in np.array_split(np.arange(n), max(1, n // 2000)):
            w = top[rows, None] * np.linspace(0, 1, 600)
            p = w**2 * np.exp(np.interp(np.log(bottom[rows, None] + w**2 / 2), depth, ln_f))
            total = np.concatenate([np.zeros((len(rows), 1)), np.cumsum((p[:, 1:] + p[:, :-1]) / 2, 1)], 1)
            u_star = rng.random(len(rows)) * total[:, -1]
            speed[rows] = [np.interp(a, b, c) for a, b, c in zip(u_star, total, w, strict=True)]
        e_r, e_1, e_2 = _axes(rng.standard_normal((n, 3)), rng)
        way = rng.standard_normal((n, 3))
        way *= (speed / np.linalg.norm(way, axis=1))[:, None]
        a = 0.0 if self.anisotropy is None else self.anisotropy**-2.0
        r = np.exp(t_star)
        way[:, 1:] /= np.sqrt(1 + a * r**2)[:, None]
        return r[:, None] * e_r, way[:, :1] * e_r + way[:, 1:2] * e_1 + way[:, 2:] * e_2

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `dwarf_truth_of` takes them."""
        if type(self.halo).__name__ not in HALOS:
            raise ValueError(f"Expected a halo among {', '.join(HALOS)}, got {type(self.halo).__name__}; choose one.")
        return {
            "tracer": asdict(self.tracer), "anisotropy": self.anisotropy,
            "halo": {"name": type(self.halo).__name__, **asdict(self.halo)},
        }  # fmt: skip


def _sight(R) -> tuple[np.ndarray, np.ndarray]:
    """Radii along the lines of sight at R, (..., K), and their weights in an integral along these."""
    R = np.asarray(R, float)[..., None]
    # z = R sinh(t): even steps in ln z far out, and no root to be singular at z = 0.
    far = np.arcsinh(_REACH / np.minimum(R, 1.0))
    t = far / 2 * (_NODES + 1)
    return R * np.cosh(t), 2 * _WEIGHTS * far / 2 * R * np.cosh(t)


def _axes(way, rng):
    """A random direction each, and two across."""
    e_r = way / np.linalg.norm(way, axis=1, keepdims=True)
    across = rng.standard_normal(way.shape)
    across -= (across * e_r).sum(1, keepdims=True) * e_r
    e_1 = across / np.linalg.norm(across, axis=1, keepdims=True)
    return e_r, e_1, np.cross(e_r, e_1)


@lru_cache(maxsize=16)
def _truth(tracer: Zhao, halo: Profile, anisotropy: float | None) -> DwarfTruth:
    return DwarfTruth(tracer, halo, anisotropy)


def dwarf_truth_of(catalog: Catalog) -> DwarfTruth | None:
    """The truth behind a catalogue of `mock_dwarf`, or None for other stars."""
    told = (catalog.meta.get("mock") or {}).get("dwarf")
    if told is None:
        return None
    halo = dict(told["halo"])
    return _truth(Zhao(**told["tracer"]), HALOS[halo.pop("name")](**halo), told["anisotropy"])


def mock_dwarf(
    n: int = 1000,
    seed: int = 0,
    *,
    tracer: Zhao = TRACER,
    halo: Profile = CORE,
    anisotropy: float | None = None,
    velocity_error: float | Sequence[float] = 2.0,
    systemic_velocity: float = 0.0,
    foreground: float = 0.0,
    foreground_velocity: float = 50.0,
    foreground_spread: float = 80.0,
    photometric: int = 0,
    radius: float | None = None,
) -> Catalog:
    """Draw the stars of a dwarf galaxy in equilibrium, as a spectrograph sees them from along z.

    Args:
        n: stars with velocities, members and foreground.
        seed: of the random numbers; other seeds give independent stars.
        tracer: density of the members.
        halo: density of the mass: a `Zhao`, `CoreNFW`, `Burkert` or `Soliton` of `clearview.halos`.
        anisotropy: radius of Osipkov and Merritt, kpc; None is isotropic.
        velocity_error: of v_los, km/s; or its least and largest, between which the logarithms are even.
        systemic_velocity: of the galaxy along the line of sight, km/s.
        foreground: part of all stars that are no members, even on the sky.
        foreground_velocity, foreground_spread: mean and standard deviation of their v_los, km/s.
        photometric: further stars, whose v_los is NaN.
        radius: of the field on the sky, kpc; None is without end, or with a foreground 8 half-light radii.

    Returns:
        A catalogue with x, y, z [kpc] and vx, vy, vz [km/s] about the centre (z and vz of the foreground are NaN, and
        so are vx and vy), R [kpc], v_los and v_los_error [km/s], and is_member; ``meta["mock"]`` holds the parameters,
        see `dwarf_truth_of`.

    Raises:
        TypeError, ValueError: for settings that no galaxy can have, or without a positive distribution function.
    """
    checks.number("n", n, 1, 10**7, whole=True)
    checks.number("photometric", photometric, 0, 10**7, whole=True)
    checks.number("seed", seed, *checks.SEEDS, whole=True)
    checks.number("foreground", foreground, 0, 1)
    checks.number("foreground_velocity", foreground_velocity, -1e4, 1e4)
    checks.number("systemic_velocity", systemic_velocity, -1e4, 1e4)
    checks.number("foreground_spread", foreground_spread, checks.ABOVE_0, 1e4)
    checks.number("radius", radius, checks.ABOVE_0, 1e6, optional=True)
    given = velocity_error if isinstance(velocity_error, Sequence | np.ndarray) else (velocity_error, velocity_error)
    errors = [checks.number("velocity_error", value, 0, 1e4) for value in given]
    if len(errors) != 2 or errors[0] > errors[1] or (errors[0] == 0 < errors[1]):
        raise ValueError(f"Expected velocity_error as a number or (least, largest), got {given}; correct it.")
    for kind, value in ((Zhao, tracer), (Profile, halo)):
        checks.a(value, kind, f"a {kind.__name__}")
    truth = _truth(tracer, halo, None if anisotropy is None else float(anisotropy))
    told = truth.to_dict()
    rng = np.random.default_rng(seed)
    all_stars = n + photometric
    strangers = round(foreground * all_stars)
    field = 8 * truth.half_light_radius if radius is None and strangers else radius
    x, v = _members(truth, all_stars - strangers, field, rng)
    place, turn = (field or 0.0) * np.sqrt(rng.random(strangers)), 2 * np.pi * rng.random(strangers)
    unknown = np.full((strangers, 3), np.nan)
    others = np.stack([place * np.cos(turn), place * np.sin(turn), unknown[:, 0]], 1)
    x, v = np.concatenate([x, others]), np.concatenate([v, unknown])
    v_los = np.concatenate(
        [v[: len(v) - strangers, 2] + systemic_velocity, rng.normal(foreground_velocity, foreground_spread, strangers)]
    )
    error = errors[0] * (errors[1] / max(errors[0], checks.ABOVE_0)) ** rng.random(all_stars) if errors[1] else 0.0
    error = np.broadcast_to(error, (all_stars,))
    v_los = v_los + error * rng.standard_normal(all_stars)
    order = rng.permutation(all_stars)
    v_los = np.where(np.arange(all_stars)[order.argsort()] < n, v_los, np.nan)  # the first n of the catalogue have one
    columns = {
        "R": u.Quantity(np.hypot(x[:, 0], x[:, 1])[order], u.kpc),
        "v_los": u.Quantity(v_los[order], u.km / u.s),
        "v_los_error": u.Quantity(np.where(np.isnan(v_los), np.nan, error)[order], u.km / u.s),
        "is_member": (np.arange(all_stars) < all_stars - strangers)[order],
    }
    parameters = dict(
        n=n, seed=seed, velocity_error=errors, systemic_velocity=systemic_velocity, foreground=foreground,
        foreground_velocity=foreground_velocity, foreground_spread=foreground_spread, photometric=photometric,
        radius=field, dwarf=told,
    )  # fmt: skip
    return Catalog.from_phase_space(
        x[order], v[order], columns=columns, meta={"source": "mock_dwarf", "mock": parameters}
    )


def _members(truth: DwarfTruth, n: int, radius: float | None, rng) -> tuple[np.ndarray, np.ndarray]:
    """x and v of n stars within ``radius`` on the sky."""
    parts, found = [], 0
    while found < n or not parts:
        x, v = truth.sample(max(100, int(1.2 * (n - found))) if radius is not None else n, rng)
        seen = np.ones(len(x), bool) if radius is None else np.hypot(x[:, 0], x[:, 1]) < radius
        parts.append((x[seen], v[seen]))
        found += int(seen.sum())
        if radius is not None and len(parts) > 1000:
            raise ValueError(f"Expected a field that holds stars, got none within {radius:g} kpc; enlarge it.")
    x, v = (np.concatenate(both)[:n] for both in zip(*parts, strict=True))
    return x, v
