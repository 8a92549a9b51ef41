"""Measurement errors: a catalogue measured once more, for errors carried through by Monte Carlo."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from astropy import units as u
from astropy.table import Table

from clearview.checks import SEEDS, number

from .catalog import Catalog
from .columns import PHASE_SPACE
from .frames import to_galactocentric
from .select import Finite, Positive, judge

MEASURED = ("parallax", "pmra", "pmdec", "radial_velocity")


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
    """Draws parallax, pmra, pmdec and radial_velocity again within their errors.

    The astrometry is correlated where ``parallax_pmra_corr``, ``parallax_pmdec_corr`` and ``pmra_pmdec_corr`` (those of
    Gaia) are there, else independent; places on the sky stay. If the catalogue has phase space, it is made anew. The
    drawn stars carry the errors twice, those of the measurement and these.

    Args:
        catalog: with ra, dec, the four measurements and their ``_error`` columns.
        seed: of the random numbers.
        scale: factor on the errors drawn from (the ``_error`` columns stay), for simulation-extrapolation.

    Raises:
        KeyError: if columns are missing.
        ValueError: if an error is negative or not finite, a correlation impossible, the phase space was not made from
            the parallax, or no star is left.
    """
    errors = tuple(f"{name}_error" for name in MEASURED)
    catalog.require((*MEASURED, *errors))
    number("scale", scale, 0)
    number("seed", seed, *SEEDS, whole=True)
    anew = catalog.has_phase_space
    if anew:
        catalog.require(("ra", "dec"))
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
    noise = np.random.default_rng([seed, 0x5A3E]).standard_normal((4, len(catalog)))
    noise[:3] = _correlated(catalog, noise[:3])
    drawn = {}
    for name, error, e in zip(MEASURED, sigma, noise, strict=True):
        values = catalog[name]
        drawn[name] = u.Quantity((values + scale * error * e).astype(values.dtype), catalog.unit(name))
    told = {"resampled": {"seed": int(seed), "scale": float(scale)}}
    stars = catalog.with_columns(drawn, meta=told)
    keep, reports = judge(stars, [Finite("parallax"), Positive("parallax")])
    stars = stars.take(keep, [r for r in reports if r.removed])
    if anew:
        # Without the old phase space, which to_galactocentric would otherwise keep.
        stars = to_galactocentric(without(stars, PHASE_SPACE), distance="parallax")
    return Resampled(stars, len(catalog) - len(stars))


def _correlated(catalog: Catalog, noise: np.ndarray) -> np.ndarray:
    """Unit noise (3, N) of parallax, pmra, pmdec with the correlations of the catalogue, by Cholesky."""
    ab, ac, bc = (
        np.asarray(catalog[name], float) if name in catalog else np.zeros(len(catalog))
        for name in ("parallax_pmra_corr", "parallax_pmdec_corr", "pmra_pmdec_corr")
    )
    b2 = 1 - ab**2
    with np.errstate(divide="ignore", invalid="ignore"):
        cb = np.where(b2 > 0, (bc - ab * ac) / np.sqrt(b2), 0.0)
    c2 = 1 - ac**2 - cb**2
    if bad := np.count_nonzero(~((b2 >= 0) & (c2 >= -1e-6))):  # Gaia's are rounded
        raise ValueError(
            f"Expected possible correlations of parallax, pmra and pmdec, got {bad:,} stars without; leave them out."
        )
    a, b, c = noise
    return np.stack([a, ab * a + np.sqrt(b2) * b, ac * a + cb * b + np.sqrt(np.maximum(c2, 0)) * c])
