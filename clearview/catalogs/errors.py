"""Measurement errors: a catalogue measured once more, for errors carried through by Monte Carlo."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from astropy import units as u
from astropy.table import Table

from clearview.checks import SEEDS, number

from .catalog import Catalog
from .columns import PHASE_SPACE
from .frames import basis, to_galactocentric
from .select import Finite, Positive, judge

_TURNED = ("lon", "lat", "pm_lon", "pm_lat", "phi1", "phi2", "pm_phi1", "pm_phi2")

MEASURED = ("parallax", "pmra", "pmdec", "radial_velocity")
_PLACE = ("ra", "dec")
_FIVE = (*_PLACE, *MEASURED[:3])  # the order in which Gaia names its correlations
_MAS = np.deg2rad(1 / 3.6e6)
_CHUNK = 500_000
_ROUNDED = 1 - 2e-6
"""By this all correlations are shrunk: rounded to float32, possible ones may miss being so by 3e-7."""


class Resampled(NamedTuple):
    """A catalogue measured once more, and how many stars got a parallax that is not positive and were left out."""

    catalog: Catalog
    lost: int


def without(catalog: Catalog, names: Iterable[str]) -> Catalog:
    """The catalogue without some columns, whether they are there or not."""
    names = set(names)
    kept = {name: catalog._table[name] for name in catalog.columns if name not in names}
    return Catalog(Table(kept, copy=False), meta=catalog.meta, report=catalog.report)


def resample(catalog: Catalog, seed: int, scale: float = 1.0) -> Resampled:
    """Draws parallax, pmra, pmdec and radial_velocity again within their errors, and the place on the sky with them.

    The astrometry is correlated as Gaia's ``*_corr`` columns tell (``ra_dec_corr`` to ``pmra_pmdec_corr``), where they
    are there, else independent. Places move where ``ra_error`` (along the sphere) and ``dec_error`` are there; whether
    they do changes no other draw. If the catalogue has phase space, it is made anew. The drawn stars carry the errors
    twice, those of the measurement and these. Columns of `to_patch` and `to_stream`, which they no longer agree with,
    are left out: make them anew.

    Args:
        catalog: with ra, dec, the four measurements and their ``_error`` columns.
        seed: of the random numbers.
        scale: factor on the errors drawn from (the ``_error`` columns stay), for simulation-extrapolation.

    Raises:
        KeyError: if columns are missing.
        ValueError: if an error is negative or not finite, a correlation impossible, the phase space was not made from
            the parallax, or no star is left.
    """
    catalog.require((*MEASURED, *(f"{name}_error" for name in MEASURED)))
    moves = all(name in catalog and f"{name}_error" in catalog for name in _PLACE)
    names = (*MEASURED, *(_PLACE if moves else ()))
    errors = tuple(f"{name}_error" for name in names)
    number("scale", scale, 0)
    number("seed", seed, *SEEDS, whole=True)
    anew = catalog.has_phase_space
    if anew:
        catalog.require(_PLACE)
        if (used := catalog.meta.get("distance")) != "parallax":
            raise ValueError(
                f"Expected phase space made from the parallax, got it from {used or 'somewhere else'}; "
                "start from to_galactocentric(distance='parallax')."
            )
    sigma = np.stack([np.asarray(catalog[name], float) for name in errors])
    if bad := np.count_nonzero(~(np.isfinite(sigma) & (sigma >= 0)).all(0)):
        raise ValueError(
            f"Expected errors of at least 0, got {bad:,} of {len(catalog):,} stars without; "
            f"cut them with Box({errors[0]}=(0, None), ...)."
        )
    rng = np.random.default_rng([seed, 0x5A3E])
    noise = rng.standard_normal((4, len(catalog)))
    if moves:  # behind the others, which so are the same with and without
        noise = np.concatenate([noise, rng.standard_normal((2, len(catalog)))])
    sky = [i for i, name in enumerate(names) if name in _FIVE]
    noise[sky] = _correlated(catalog, [names[i] for i in sky], noise[sky])
    drawn = {}
    for name, error, e in zip(MEASURED, sigma, noise, strict=False):
        values = catalog[name]
        drawn[name] = u.Quantity((values + scale * error * e).astype(values.dtype), catalog.unit(name))
    if moves:
        place = _moved(*(np.asarray(catalog[name], float) for name in _PLACE), *(scale * sigma[4:] * noise[4:]))
        drawn |= {name: u.Quantity(value, u.deg) for name, value in zip(_PLACE, place, strict=True)}
    told = {"resampled": {"seed": int(seed), "scale": float(scale)}}
    stars = without(catalog.with_columns(drawn, meta=told), _TURNED)  # which would still be those measured
    keep, reports = judge(stars, [Finite("parallax"), Positive("parallax")])
    stars = stars.take(keep, [r for r in reports if r.removed])
    if anew:
        # Without the old phase space, which to_galactocentric would otherwise keep.
        stars = to_galactocentric(without(stars, PHASE_SPACE), distance="parallax")
    return Resampled(stars, len(catalog) - len(stars))


def _correlated(catalog: Catalog, names: Sequence[str], noise: np.ndarray) -> np.ndarray:
    """Unit noise (K, N) of the astrometry ``names`` with the correlations of the catalogue, by Cholesky."""
    size, pairs = len(names), {}
    for i in range(size):
        for j in range(i):
            a, b = sorted((names[i], names[j]), key=_FIVE.index)
            if f"{a}_{b}_corr" in catalog:
                pairs[i, j] = f"{a}_{b}_corr"
    out, bad = noise.copy(), 0
    for start in range(0, noise.shape[1] if pairs else 0, _CHUNK):
        rows = slice(start, start + _CHUNK)
        given = {at: np.asarray(np.ma.filled(catalog[name][rows], np.nan), float) for at, name in pairs.items()}
        count = noise[0, rows].size
        factor, wrong = np.zeros((size, size, count)), np.zeros(count, bool)
        for i in range(size):
            for j in range(i):
                left = _ROUNDED * given.get((i, j), 0.0) - (factor[i, :j] * factor[j, :j]).sum(0)
                factor[i, j] = left / factor[j, j]
            left = 1 - (factor[i, :i] ** 2).sum(0)
            wrong |= ~(left > 0)
            factor[i, i] = np.sqrt(np.where(left > 0, left, 1.0))
        bad += np.count_nonzero(wrong)
        out[:, rows] = np.einsum("ijn,jn->in", factor, noise[:, rows])
    if bad:
        raise ValueError(
            f"Expected possible correlations of {', '.join(names[:-1])} and {names[-1]}, got {bad:,} stars without; "
            "leave them out."
        )
    return out


def _moved(ra, dec, east, north) -> tuple[np.ndarray, np.ndarray]:
    """Places (N,) [deg] moved by so many mas along the sphere, at its poles and its seam, too."""
    ra, dec = ra.copy(), dec.copy()
    for start in range(0, len(ra), _CHUNK):
        rows = slice(start, start + _CHUNK)
        out, along, up = basis(ra[rows], dec[rows])
        x, y, z = (out + _MAS * (east[rows, None] * along + north[rows, None] * up)).T
        ra[rows], dec[rows] = np.rad2deg(np.arctan2(y, x)) % 360, np.rad2deg(np.arctan2(z, np.hypot(x, y)))
    return ra, dec
