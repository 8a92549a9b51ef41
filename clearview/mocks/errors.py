"""Measurement errors of a mock, at the magnitudes that Gaia's third release has for stars with radial velocities."""

import numpy as np
from astropy import units as u

from clearview import checks
from clearview.catalogs import Catalog, to_sky
from clearview.catalogs.columns import PHASE_SPACE
from clearview.catalogs.errors import MEASURED, without
from clearview.catalogs.select import sun_distance
from clearview.mocks.photometry import OLD, LuminosityFunction, distance_modulus

PROPER_MOTION = (1.03, 0.89)
"""Error of pmra and pmdec [mas/yr] over that of the parallax [mas], mean over the sky (Gaia science performance)."""


def parallax_error(G) -> np.ndarray:
    """Error of the parallax of a star of magnitude G, mas: 0.017 for G < 13, 0.025 at 14, 0.038 at 15.

    The sky-averaged formula of the Gaia science performance pages for (E)DR3, times 1.3, by which the errors of bright
    stars are too small (El-Badry, Rix & Heintz 2021, arXiv:2101.05282).
    """
    z = 10 ** (0.4 * (np.maximum(np.asarray(G, float), 13.0) - 15.0))
    return 1.3e-3 * np.sqrt(40 + 800 * z + 30 * z**2)


def radial_velocity_error(G) -> np.ndarray:
    """Error of the radial velocity of a giant of magnitude G, km/s: 0.2 at 11, 0.9 at 13, 2.3 at 14.

    The formula of the Gaia science performance pages for giants (2 < log g < 3) in DR3, with G_RVS = G - 1.
    """
    return 0.12 + 6.0 * np.exp(np.asarray(G, float) - 1.0 - 14.0)


def add_errors(catalog: Catalog, seed: int = 0, *, scale: float = 1.0, luminosity: LuminosityFunction = OLD) -> Catalog:
    """The mock as Gaia would list it: measurements with errors, and no phase space.

    `Catalog.to_galactocentric` then makes phase space from the noisy parallax, as for real stars. Stars come in and go
    out of the ball that way: draw the mock in a larger one than is to be mapped (by 0.5 kpc for 4 kpc).

    Args:
        catalog: with x, y, z, vx, vy, vz.
        seed: of the random numbers.
        scale: factor on all errors; 0 measures exactly.
        luminosity: from which magnitudes are drawn if there is no ``phot_g_mean_mag``, independent of place and
            velocity; it is then added.

    Returns:
        A catalogue with ra, dec [deg], parallax [mas], pmra, pmdec [mas/yr], radial_velocity [km/s], the last four with
        their ``_error``, and all that the catalogue had besides x..vz and a distance. Parallaxes may be negative;
        ``meta["errors"]`` says what was done, and the truth can still be found.

    Raises:
        KeyError: if there is no phase space.
        ValueError: if the scale is negative.
    """
    checks.number("scale", scale, 0)
    checks.number("seed", seed, *checks.SEEDS, whole=True)
    checks.a(catalog, Catalog, "a Catalog")
    rng, sky = np.random.default_rng([seed, 0xE440]), to_sky(catalog)
    if "phot_g_mean_mag" in catalog:
        G = catalog["phot_g_mean_mag"].astype(float)
    else:
        G = luminosity.sample(len(catalog), rng) + distance_modulus(sun_distance(catalog))
    parallax = parallax_error(G)
    sigma = (parallax, *(factor * parallax for factor in PROPER_MOTION), radial_velocity_error(G))
    columns = {"phot_g_mean_mag": u.Quantity(G.astype(np.float32), u.mag)}
    for name, error in zip(MEASURED, sigma, strict=True):
        unit, noisy = sky.unit(name), sky[name] + scale * error * rng.standard_normal(len(G))
        columns[name] = u.Quantity(noisy.astype(np.float32), unit)
        columns[f"{name}_error"] = u.Quantity((scale * error).astype(np.float32), unit)
    told = {"errors": {"seed": int(seed), "scale": float(scale)}, "sun": catalog.sun.to_dict()}
    return without(sky.with_columns(columns, meta=told), (*PHASE_SPACE, "distance"))
