"""G and BP-RP without the dust in front of the stars, by Gaia's own extinction laws."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from astropy import units as u
from astropy.coordinates import ICRS, Galactic

from clearview.checks import ABOVE_0, number
from clearview.units import strip

from .columns import listed
from .select import _numbers, sun_distance

if TYPE_CHECKING:
    from .catalog import Catalog

Reddening = str | np.ndarray | Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

R_0 = 3.1
"""A_0, the extinction at 550 nm, over E(B-V)."""

_HALVINGS = 40
_BLUE, _RED = -0.06, 2.5  # (BP-RP)_0 of the stars of 10,000 and 3,500 K between which the laws were fitted


class Law(NamedTuple):
    """k_m = A_m / A_0 of G, BP and RP: polynomials in X = (BP-RP)_0 and A = A_0.

    Attributes:
        coefficients: (3, 10) of 1, X, X^2, X^3, A, A^2, A^3, XA, X^2 A, X A^2.
        A_max: largest A_0 that it holds for, mag.
    """

    coefficients: np.ndarray
    A_max: float

    def __call__(self, X: np.ndarray, A: np.ndarray) -> np.ndarray:
        """(3, N) k_G, k_BP, k_RP."""
        return self.coefficients @ np.stack([X**0, X, X**2, X**3, A, A**2, A**3, X * A, X**2 * A, X * A**2])


_EDR3 = [
    [0.995969721536602, -0.159726460302015, 0.0122380738156057, 0.00090726555099859, -0.0377160263914123,
     0.00151347495244888, -2.52364537395142e-05, 0.0114522658102451, -0.000936914989014318, -0.000260296774134201],
    [1.15363197483424, -0.0814012991657388, -0.036013023976704, 0.0192143585568966, -0.022397548243016,
     0.000840562680547171, -1.31018008013549e-05, 0.00660124080271006, -0.000882247501989453, -0.000111215755291684],
    [0.66320787941067, -0.0179847164933981, 0.000493769449961458, -0.00267994405695751, -0.00651422146709376,
     3.30179903473159e-05, 1.57894227641527e-06, -7.9800898337247e-05, 0.000255679812110045, 1.10476584967393e-05],
]  # fmt: skip
_DR2 = [
    [0.9761, -0.1704, 0.0086, 0.0011, -0.0438, 0.0013, 0, 0.0099, 0, 0],
    [1.1517, -0.0871, -0.0333, 0.0173, -0.0230, 0.0006, 0, 0.0043, 0, 0],
    [0.6104, -0.0170, -0.0026, -0.0017, -0.0078, 0.00005, 0, 0.0006, 0, 0],
]

LAWS = {"gaia_edr3": Law(np.array(_EDR3), 20.0), "gaia_dr2": Law(np.array(_DR2), 5.0)}
"""gaia_edr3: for EDR3 and DR3, the fit for dwarfs of the page "Gaia EDR3 extinction law" of ESA (Riello et al. 2021,
arXiv:2012.01916, with the curve of Fitzpatrick et al. 2019), good to 3.5 % in G, 1.5 % in BP and 1 % in RP. gaia_dr2:
Table 1 of Gaia Collaboration, Babusiaux et al. 2018 (arXiv:1804.09378), used for A_0 up to 5 mag only. Both for solar
metallicity and -0.06 <= (BP-RP)_0 <= 2.5."""


def deredden(catalog: "Catalog", ebv: Reddening, *, law: str | None = None, distance: float | None = None) -> "Catalog":
    """Adds G and BP-RP without dust: ``phot_g_mean_mag0`` and ``bp_rp0`` [mag].

    The extinction depends on the colour without dust, which is found by halving. A star without colour or E(B-V), or
    outside the law's range, gets NaN; ``meta["dereddened"]`` counts these, and tells the law and where E(B-V) is from.

    Args:
        catalog: with phot_g_mean_mag, and bp_rp or phot_bp_mean_mag and phot_rp_mean_mag.
        ebv: E(B-V) [mag] between the Sun and the stars, A_0 / 3.1 (that of Schlegel et al. 1998 times 0.86): the name
            of a column, an (N,) array, or a function of l, b [deg] and distance [kpc], arrays (N,), such as
            `clearview.dynamics.SightLines`.
        law: one of `LAWS`; by default that of the catalogue's release, "gaia_edr3" where it names none.
        distance: of all stars [kpc], for a function of it; by default each star's own.

    Raises:
        KeyError: if columns are missing.
        ValueError: for another law, or an E(B-V) of another shape, or for no star at all.
    """
    if law is None:
        law = "gaia_dr2" if re.search(r"\bdr2\b", str(catalog.meta.get("release", "")), re.IGNORECASE) else "gaia_edr3"
    if not isinstance(law, str) or law not in LAWS:
        raise ValueError(f"Expected a law among {listed(LAWS)}, got {law!r}; choose one of them.")
    if "bp_rp" in catalog:
        catalog.require(["phot_g_mean_mag"])
        colour = _numbers(catalog, "bp_rp").astype(float)
    else:
        catalog.require(["phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag"])
        colour = _numbers(catalog, "phot_bp_mean_mag").astype(float) - _numbers(catalog, "phot_rp_mean_mag")
    G = _numbers(catalog, "phot_g_mean_mag").astype(float)
    reddening, source = _reddening(catalog, ebv, distance)
    seen, known = np.isfinite(G + colour), np.isfinite(reddening) & (reddening >= 0)
    G0, colour0 = _without_dust(G, colour, R_0 * np.where(known, reddening, np.nan), LAWS[law])
    made = np.isfinite(G0)
    told = {
        "law": law, "E(B-V)": source, "stars": int(made.sum()), "no_colour": int((~seen).sum()),
        "no_reddening": int((seen & ~known).sum()), "out_of_range": int((seen & known & ~made).sum()),
    }  # fmt: skip
    if not made.any():
        raise ValueError(
            f"Expected stars with a colour and E(B-V) in the range of {law}, got none of {len(catalog):,} "
            f"({told['no_colour']:,} without colour, {told['no_reddening']:,} without E(B-V)); check both."
        )
    kind = catalog["phot_g_mean_mag"].dtype
    columns = {"phot_g_mean_mag0": G0, "bp_rp0": colour0}
    return catalog.with_columns(
        {name: u.Quantity(values.astype(kind), u.mag) for name, values in columns.items()}, meta={"dereddened": told}
    )


def _without_dust(G, colour, A, law: Law) -> tuple[np.ndarray, np.ndarray]:
    """G_0 and (BP-RP)_0 of N stars behind A_0, NaN where the law does not hold."""
    A = np.where(law.A_max >= A, A, np.nan)

    def excess(X):
        k = law(X, A)
        return X + A * (k[1] - k[2]) - colour

    # By halving, for the reddened colour grows with the true one; putting in and in again fails behind much dust.
    low, high = np.full(len(colour), _BLUE), np.full(len(colour), _RED)
    fine = (excess(low) <= 0) & (excess(high) >= 0)
    for _ in range(_HALVINGS):
        X = (low + high) / 2
        above = excess(X) > 0
        low, high = np.where(above, low, X), np.where(above, X, high)
    X = (low + high) / 2
    return np.where(fine, G - A * law(np.where(fine, X, 0.0), A)[0], np.nan), np.where(fine, X, np.nan)


def _reddening(catalog, ebv: Any, distance) -> tuple[np.ndarray, str]:
    """(N,) E(B-V), and where it is from."""
    if isinstance(ebv, str):
        catalog.require([ebv])
        return np.asarray(_numbers(catalog, ebv), float), f"column {ebv}"
    if callable(ebv):
        name = getattr(ebv, "__name__", type(ebv).__name__)
        if distance is None:
            far = np.asarray(sun_distance(catalog), float)
        else:
            far = np.full(len(catalog), number("distance in kpc", distance, ABOVE_0), float)
            name += f" at {distance:g} kpc"
        values, source = ebv(*galactic(catalog), far), f"function {name}"
    else:
        values, source = ebv, "array"
    try:
        values = strip(values, u.mag, name="E(B-V)") if getattr(values, "unit", None) is not None else values
        values = np.ma.filled(np.ma.asarray(values).astype(float), np.nan)
    except (TypeError, ValueError):
        values = np.empty(0)
    if values.shape != (len(catalog),):
        raise ValueError(
            f"Expected E(B-V) of shape ({len(catalog)},) from the {source}, got {values.shape or type(ebv).__name__}; "
            "give a number for each star."
        )
    return values, source


def galactic(catalog: "Catalog") -> tuple[np.ndarray, np.ndarray]:
    """Galactic l and b [deg], each (N,), from the columns l and b, or else ra and dec.

    Raises:
        KeyError: if there are neither.
    """
    if "l" in catalog and "b" in catalog:
        return np.asarray(_numbers(catalog, "l"), float), np.asarray(_numbers(catalog, "b"), float)
    catalog.require(("ra", "dec"))
    at: Any = ICRS(*(np.asarray(_numbers(catalog, name), float) * u.deg for name in ("ra", "dec"))).transform_to(
        Galactic()
    )
    return at.l.deg, at.b.deg
