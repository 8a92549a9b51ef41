"""How far a stream is, roughly: from the colours and magnitudes of its members."""

import numpy as np

from clearview.mocks.isochrones import StellarPopulation, color_error, ridge_line

MODULI = np.arange(12.0, 20.01, 0.05)
_OLD = StellarPopulation(-1.8, 0.05)


def photometric_distance(
    colour, magnitude, weight, *, g_limit: float = 20.5, metallicity: float = -1.8, fewest: int = 20
) -> tuple[float, float]:
    """Distance of old stars of one distance and its error, kpc: that at which they lie on the ridge of such stars.

    The ridge and the luminosity function are those of the mocks (`clearview.mocks.StellarPopulation`), for one age and
    one metallicity. 0.3 in metallicity move the ridge by about 0.05 mag in colour and the distance by a tenth, which
    the error does not hold; nor does it hold what dust does.

    Args:
        colour: (N,) BP-RP of the stars, mag.
        magnitude: (N,) G, mag.
        weight: (N,) probability that each is a member; three in ten of the weight may lie off the ridge.
        g_limit: of the catalogue, mag.
        metallicity: [Fe/H].
        fewest: expected number of members below which nothing is said: (NaN, NaN).
    """
    colour, magnitude, weight = (np.asarray(v, float) for v in (colour, magnitude, weight))
    known = np.isfinite(colour + magnitude + weight) & (magnitude < g_limit)
    colour, magnitude, weight = colour[known], magnitude[known], weight[known]
    if weight.sum() < fewest:
        return np.nan, np.nan
    M = magnitude - MODULI[:, None]
    step = 0.1
    seen = _OLD.number_brighter(g_limit - MODULI)[:, None]
    density = (_OLD.number_brighter(M + step) - _OLD.number_brighter(M - step)) / (2 * step * seen)
    width = np.hypot(0.05, color_error(magnitude))
    ridge = np.exp(-0.5 * ((colour - ridge_line(M, metallicity)) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    log = (weight * np.log(0.7 * density * ridge + 0.3 * 0.1)).sum(1)
    chance = np.exp(log - log.max())
    chance /= chance.sum()
    distance = 10 ** (MODULI / 5 - 2)
    mean = float((chance * distance).sum())
    return mean, float(np.sqrt((chance * (distance - mean) ** 2).sum()))
