"""Stars of a dwarf in bins of their distance from its centre, and what two numbers of them say of its mass."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import xarray as xr

import clearview
from clearview import checks
from clearview.catalogs import Catalog
from clearview.dwarfs.stars import stars_of
from clearview.units import G

WOLF = (4.0 / G, 4.0 / 3.0)
WALKER = (2.5 / G, 1.0)
"""M = factor * sigma^2 R_h within so many R_h: Wolf et al. 2010 (arXiv:0908.2995), eq. 2, whose radius is that of the
sphere with half of the light, about 4/3 R_h; and Walker et al. 2009 (arXiv:0906.0341)."""


class Estimate(NamedTuple):
    """A mass from the dispersion and the half-light radius alone.

    Attributes:
        radius: within which, kpc.
        mass: Msun.
        error: of it, by that of the dispersion alone, Msun.
        name: whose it is.
    """

    radius: float
    mass: float
    error: float
    name: str

    def values(self, profile: str) -> tuple[float, ...] | None:
        """(r, middle, low, high) of "M", as `clearview.dwarfs.Published.values` gives them."""
        return (self.radius, self.mass, self.mass - self.error, self.mass + self.error) if profile == "M" else None


def bin_stars(
    stars: Catalog, membership: np.ndarray | None = None, *, each: int | None = None, foreground: bool = False,
    places: str = "all",
) -> xr.Dataset:  # fmt: skip
    """Stars on the sky and their dispersion, in bins with as many stars each, for the eye to compare with a fit.

    Args:
        stars: as `clearview.dwarfs.fit_dwarf` takes them.
        membership: (N,) weight of each star from 0 to 1, such as a fit's; None counts all.
        each: stars with velocities in a bin, or fewer, but 5, where it would reach over half its radius; by default
            1.5 times the root of all, but at least 15.
        foreground: whether some stars are no members.
        places: "all" stars are counted, or only the "photometric" ones, as `clearview.dwarfs.DwarfConfig` has it.

    Returns:
        Along ``bin``: R [kpc], the mean, and the edges R_low and R_high; Sigma [kpc^-2], of members counted, with its
        Poisson error Sigma_error; sigma_los [km/s], the spread of v_los about ``center`` without the velocities'
        errors, the median of its posterior under an even prior, with the 16 and 84 % quantiles sigma_los_low and
        sigma_los_high. In ``attrs``: the half-light radius ``half`` [kpc], the median R; the systemic velocity
        ``center`` and the dispersion ``spread`` with ``spread_error`` [km/s] of all.

    Raises:
        TypeError, KeyError, ValueError: for stars that no dwarf can be fitted to, weights of another length, or places
            of photometric stars where there are none.
    """
    seen = stars_of(stars, foreground=foreground, radius=None)
    weight = np.ones(len(seen.R)) if membership is None else np.asarray(membership, float)
    if weight.shape != seen.R.shape or not ((weight >= 0) & (weight <= 1)).all():
        raise ValueError(f"Expected {len(seen.R):,} weights from 0 to 1, got shape {weight.shape}; give one a star.")
    known = np.isfinite(seen.v)
    counted = weight if places == "all" else weight * ~known
    if places not in ("all", "photometric") or (places == "photometric" and not counted.any()):
        raise ValueError(
            f"Expected places all, or photometric beside stars without a velocity, got {checks.shown(places)} and "
            f"{int((~known).sum()):,} such stars; choose the other."
        )
    each = max(15, round(1.5 * known.sum() ** 0.5)) if each is None else int(checks.number("each", each, 2, whole=True))
    center, spread, error = gaussian(seen.v[known], seen.error[known], weight[known])
    R, inside = np.sort(seen.R[known]), weight[known][np.argsort(seen.R[known])]
    edges = _edges(R, inside, each, max(R[-1], float(seen.R.max())))
    rows = np.clip(np.searchsorted(edges, seen.R, side="left") - 1, 0, len(edges) - 2)
    found: dict[str, list[float]] = {k: [] for k in ("R", "Sigma", "Sigma_error", "low", "middle", "high")}
    for i, (low, high) in enumerate(pairwise(edges)):
        own = rows == i
        w, area = counted[own], np.pi * (high**2 - low**2)
        found["R"].append(float(np.average(seen.R[own], weights=w)) if w.sum() else (low + high) / 2)
        found["Sigma"].append(w.sum() / area)
        found["Sigma_error"].append(np.sqrt((w**2).sum()) / area)
        of = own & known
        for name, value in zip(("low", "middle", "high"),
                               _dispersion(seen.v[of] - center, seen.error[of], weight[of]), strict=True):  # fmt: skip
            found[name].append(value)
    units = {"R": "kpc", "Sigma": "kpc-2", "sigma_los": "km / s"}
    words = {"R": "R on the sky", "Sigma": "stars on the sky", "sigma_los": "line-of-sight dispersion"}
    columns = {
        "R": found["R"], "R_low": edges[:-1], "R_high": edges[1:], "Sigma": found["Sigma"],
        "Sigma_error": found["Sigma_error"], "sigma_los": found["middle"], "sigma_los_low": found["low"],
        "sigma_los_high": found["high"],
    }  # fmt: skip
    kind = {name: next(k for k in ("sigma_los", "Sigma", "R") if name.startswith(k)) for name in columns}
    variables = {
        name: ("bin", np.asarray(v, float), {"units": units[kind[name]], "long_name": words[kind[name]]})
        for name, v in columns.items()
    }
    half = _median(seen.R, counted)
    told = {"half": half, "center": center, "spread": spread, "spread_error": error, "stars": float(counted.sum())}
    return xr.Dataset(variables, attrs={**told, "clearview_version": clearview.__version__})


def mass_estimates(half_light_radius: float, spread: float, error: float = 0.0) -> tuple[Estimate, ...]:
    """What two published formulas make of a half-light radius [kpc] and a dispersion [km/s], whatever the anisotropy.

    Raises:
        ValueError: for numbers that are not positive, or a negative error.
    """
    half = checks.number("half_light_radius", half_light_radius, checks.ABOVE_0)
    spread, error = checks.number("spread", spread, checks.ABOVE_0), checks.number("error", error, 0)
    found = []
    for (factor, radii), name in ((WOLF, "Wolf et al. 2010"), (WALKER, "Walker et al. 2009")):
        mass = factor * spread**2 * half
        found.append(Estimate(radii * half, mass, mass * 2 * error / spread, name))
    return tuple(found)


def _edges(R: np.ndarray, weight: np.ndarray, each: int, last: float) -> np.ndarray:
    """Edges of bins of stars in their order, from the centre on."""
    edges, held, left = [0.0], 0.0, float(weight.sum())
    for i in range(len(R) - 1):
        held, left = held + weight[i], left - weight[i]
        edge = (R[i] + R[i + 1]) / 2
        wide = 0 < 1.6 * edges[-1] < edge
        if left >= 5 and (held >= each or (wide and held >= 5)) and edge > edges[-1]:
            edges.append(edge)
            held = 0.0
    return np.array([*edges, last])


def _median(R: np.ndarray, weight: np.ndarray) -> float:
    order = np.argsort(R)
    share = np.cumsum(weight[order])
    return float(R[order][np.searchsorted(share, share[-1] / 2)])


def gaussian(v, error, weight=None, center=None) -> tuple[float, float, float]:
    """Mean, dispersion without the errors, and its standard error, km/s, by maximum likelihood.

    Args:
        v, error: (N,) velocities and their errors, km/s.
        weight: (N,) of each star; None counts all.
        center: the mean, if it is known.
    """
    weight = np.ones_like(v) if weight is None else weight
    mean = np.average(v, weights=weight) if center is None else center
    variance = max(np.average((v - mean) ** 2, weights=weight) - np.average(error**2, weights=weight), 1e-6)
    for _ in range(100):
        precision = weight / (variance + error**2)
        mean = (precision * v).sum() / precision.sum() if center is None else center
        squared = precision / (variance + error**2)
        variance = max((squared * ((v - mean) ** 2 - error**2)).sum() / squared.sum(), 1e-6)
    spread = np.sqrt(variance)
    information = (weight * 2 * variance / (variance + error**2) ** 2).sum()
    return float(mean), float(spread), float(1 / np.sqrt(max(information, 1e-12)))


def _dispersion(v, error, weight) -> tuple[float, float, float]:
    """16, 50 and 84 % of the dispersion without the errors; NaN for fewer than two stars."""
    if weight.sum() < 2:
        return np.nan, np.nan, np.nan
    top = 4 * np.sqrt(np.average(v**2, weights=weight)) + 1e-9
    sigma = np.linspace(0, top, 801)[1:, None]
    total = sigma**2 + error**2
    ln_p = (-0.5 * weight * (v**2 / total + np.log(total))).sum(1)
    share = np.cumsum(np.exp(ln_p - ln_p.max()))
    return tuple(float(np.interp(q, share / share[-1], sigma[:, 0])) for q in (0.16, 0.5, 0.84))  # pyright: ignore
