"""What a 3-D dust map says of the selection: an efficiency to compare with, and the sight lines without dust.

A dust map here is any function of (l, b [deg], distance [kpc]), arrays of one shape, that gives E(B-V) [mag] between
the Sun and there, NaN where it does not know; `SightLines` is one, made from a table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy import units as u
from astropy.coordinates import CartesianRepresentation, Galactic
from scipy.spatial import KDTree

from clearview.catalogs import Catalog, read_catalog
from clearview.catalogs.frames import _frame
from clearview.units import SUN, Sun

DustMap = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

A_G_PER_EBV = 2.74
"""A_G / E(B-V), Casagrande & VandenBerg 2018 (arXiv:1806.01953)."""


@lru_cache(maxsize=8)
def _rotation(sun: Sun) -> np.ndarray:
    """(3, 3) that takes a way from the Sun in the internal frame to Galactic Cartesian axes."""
    ends = np.concatenate([np.zeros((1, 3)), np.eye(3)]) * [-1, -1, 1]
    seen: Any = _frame(sun).realize_frame(CartesianRepresentation(ends.T * u.kpc)).transform_to(Galactic())
    at = seen.cartesian.xyz.to_value("kpc").T
    return (at[1:] - at[0]).T


def to_galactic(x, sun: Sun = SUN) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Galactic l in [0, 360), b [deg] and distance from the Sun [kpc] of places (N, 3) [kpc] in the internal frame."""
    way = (np.asarray(x, float) - sun.position) @ _rotation(sun).T
    d = np.linalg.norm(way, axis=1)
    l = np.rad2deg(np.arctan2(way[:, 1], way[:, 0])) % 360
    return l, np.rad2deg(np.arcsin(np.clip(way[:, 2] / np.maximum(d, 1e-12), -1, 1))), d


def from_galactic(l, b, distance, sun: Sun = SUN) -> np.ndarray:
    """(N, 3) places [kpc] in the internal frame; the inverse of `to_galactic`."""
    return sun.position + np.asarray(distance, float)[..., None] * _toward(l, b) @ _rotation(sun)


def _toward(l, b):
    l, b = np.deg2rad(np.asarray(l, float)), np.deg2rad(np.asarray(b, float))
    return np.stack([np.cos(b) * np.cos(l), np.cos(b) * np.sin(l), np.sin(b)], -1)


@dataclass(frozen=True)
class SightLines:
    """E(B-V) along some sight lines; linear in distance between the entries, NaN where the map is not to be trusted.

    Attributes:
        l, b: (S,) Galactic coordinates, deg.
        distance, ebv: (S, D) kpc (rising along a line), and E(B-V) from the Sun to there, mag.
        reliable: (S, 2) nearest and farthest distance to trust, kpc; NaN for a line that is not to be trusted at all.
        within: how far from a line a place may lie to take its value, deg.
    """

    l: np.ndarray
    b: np.ndarray
    distance: np.ndarray
    ebv: np.ndarray
    reliable: np.ndarray
    within: float = 0.5

    def __call__(self, l, b, distance) -> np.ndarray:
        """E(B-V) [mag] at l, b [deg] and distance [kpc], of one shape; NaN away from the lines or their trust."""
        l, b, far = np.broadcast_arrays(l, b, np.asarray(distance, float))
        toward, distance = _toward(l.ravel(), b.ravel()), far.ravel()
        chord = 2 * np.sin(np.deg2rad(self.within) / 2)
        line: Any = KDTree(_toward(self.l, self.b)).query(toward, distance_upper_bound=chord)[1]
        out = np.full(distance.shape, np.nan)
        for i in np.unique(line[line < len(self.l)]):
            low, high = self.reliable[i]
            mine = (line == i) & (distance >= low) & (distance <= high)
            out[mine] = np.interp(distance[mine], self.distance[i], self.ebv[i], right=np.nan)
        return out.reshape(far.shape)


def read_sightlines(path: str | Path, sample: str | int = "BestFit", *, within: float = 0.5) -> SightLines:
    """Reads E(B-V) along sight lines, such as those of Bayestar (Green et al. 2015, arXiv:1507.01005).

    Args:
        path: a table with the columns l_deg, b_deg, distance_kpc, ebv_mag and, where there, sample, converged,
            distmod_reliable_min and distmod_reliable_max [mag]; in any format of `clearview.read_catalog`.
        sample: which of the samples to take, if there is such a column: "BestFit" or a number.
        within: deg around each line; see `SightLines`.

    Raises:
        KeyError: if a column is missing.
        ValueError: if the sample is not there, or the lines have not one number of distances each.
    """
    table = read_catalog(path)
    table.require(("l", "b", "distance", "ebv"))
    if "sample" in table:
        samples = np.asarray(table["sample"]).astype(str)
        if str(sample) not in samples:
            there = ", ".join(dict.fromkeys(samples.tolist()))
            raise ValueError(f"Expected a sample among {there}, got {sample!r}; choose one of them.")
        table = table.take(samples == str(sample))
    l, b, far, ebv = (np.asarray(table[name], float) for name in ("l", "b", "distance", "ebv"))
    places, line, sizes = np.unique(np.stack([l, b], -1), axis=0, return_inverse=True, return_counts=True)
    if sizes.min() != sizes.max():
        raise ValueError(f"Expected as many distances on each line, got {sizes.min()} to {sizes.max()}; fill them up.")
    rows = np.lexsort((far, line.ravel())).reshape(len(places), -1)
    reliable = np.stack([far[rows[:, 0]], far[rows[:, -1]]], -1)
    for i, name in enumerate(("distmod_reliable_min", "distmod_reliable_max")):
        if name in table:
            reliable[:, i] = 10 ** (np.asarray(table[name], float)[rows[:, 0]] / 5 - 2)
    if "converged" in table:
        reliable[~np.asarray(table["converged"], bool)[rows[:, 0]]] = np.nan
    return SightLines(places[:, 0], places[:, 1], far[rows], ebv[rows], reliable, within)


class DustEfficiency(NamedTuple):
    """What `efficiency_from_dust` gives, (N,) each, NaN where the map or the stars do not tell.

    Attributes:
        efficiency: share of the stars that pass the cuts with dust.
        error: its standard error from the number of stars counted (not that of the map).
        A_G: extinction at the place, mag.
    """

    efficiency: np.ndarray
    error: np.ndarray
    A_G: np.ndarray


def efficiency_from_dust(
    parent: Catalog,
    dust: DustMap,
    x,
    *,
    coefficient: float = A_G_PER_EBV,
    limit: float = 2.5,
    brighter_than: float = 0.99,
    apparent: float = 14.0,
    stars: int = 500,
) -> DustEfficiency:
    """The selection efficiency that a dust map predicts, by making the magnitude cuts again.

    The nearest parent stars to a place are freed of their dust; those that then pass the cuts are put behind the dust
    of the place, and the efficiency is the share that still pass.

    Args:
        parent: a list deeper than the sample, with x..vz and the observed ``phot_g_mean_mag``: all stars that would
            pass without dust must be in it.
        dust: E(B-V), or A_G with ``coefficient=1``.
        x: (N, 3) places, kpc.
        coefficient: A_G / E(B-V).
        limit: distance from the Sun to which the map is trusted, kpc.
        brighter_than, apparent: the cuts in absolute and apparent magnitude.
        stars: how many nearest parent stars make the luminosity function of a place.

    Raises:
        KeyError: if columns are missing.
        ValueError: if fewer parent stars than ``stars`` lie where the map is known.
    """
    parent.require(("phot_g_mean_mag",))
    x, at, sun = np.asarray(x, float), parent.phase_space[:, :3].astype(float), parent.sun

    def extinction(places):
        l, b, d = to_galactic(places, sun)
        near = d <= limit
        out = np.full(len(places), np.nan)
        out[near] = coefficient * np.asarray(dust(l[near], b[near], d[near]), float)
        return out, 5 * np.log10(100 * np.maximum(d, 1e-9))

    A_star, modulus = extinction(at)
    known = np.isfinite(A_star)
    M = (np.asarray(parent["phot_g_mean_mag"], float) - modulus - A_star)[known]
    if len(M) < stars:
        raise ValueError(
            f"Expected at least {stars} parent stars where the dust map is known, got {len(M)}; "
            "give more stars, a wider map, or fewer stars=."
        )
    A, modulus = extinction(x)
    ok, passed, every = np.isfinite(A), np.zeros(len(x)), np.zeros(len(x))
    tree, inside = KDTree(at[known]), np.flatnonzero(ok)
    for i in (inside[k : k + 4096] for k in range(0, len(inside), 4096)):
        near = M[tree.query(x[i], stars)[1].reshape(len(i), -1)]
        edge = np.minimum(brighter_than, apparent - modulus[i])[:, None]
        every[i], passed[i] = (near < edge).sum(1), (near + A[i, None] < edge).sum(1)
    n = np.where(every > 0, every, np.nan)
    efficiency, smooth = passed / n, (passed + 0.5) / (n + 1)  # so that none of 500 has an error, too
    return DustEfficiency(efficiency, np.sqrt(smooth * (1 - smooth) / n), A)


def dust_free(
    stars: Catalog | np.ndarray,
    dust: DustMap,
    limit: float = 0.1,
    *,
    distance: float = 2.5,
    coefficient: float = A_G_PER_EBV,
    sun: Sun = SUN,
) -> np.ndarray:
    """Which stars or places lie on sight lines without dust, (N,) boolean.

    A sight line is judged as a whole, by its extinction out to ``distance``, so that those which stay keep all their
    stars; one that the map does not know is left out.

    Args:
        stars: a catalogue with x, y, z, or (N, 3) places, kpc.
        dust: E(B-V), or A_G with ``coefficient=1``.
        limit: largest A_G, mag.
        distance: kpc.
        coefficient: A_G / E(B-V).
        sun: of the places; a catalogue has its own.

    Raises:
        ValueError: if no sight line is free of dust.
    """
    x, sun = (stars.phase_space[:, :3], stars.sun) if isinstance(stars, Catalog) else (stars, sun)
    l, b, _ = to_galactic(x, sun)
    with np.errstate(invalid="ignore"):
        free = coefficient * np.asarray(dust(l, b, np.full(len(l), float(distance))), float) <= limit
    if not free.any():
        raise ValueError(
            f"Expected sight lines with A_G <= {limit} mag out to {distance} kpc, got none of {len(free):,}; "
            "raise limit."
        )
    return free
