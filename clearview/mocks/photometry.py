"""Absolute magnitudes of mock giants, and the magnitudes at which the survey ends."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from clearview import checks

M_LIMIT, G_LIMIT = 0.99, 14.0
"""Faintest absolute and apparent magnitude of the sample (Lim et al. 2023, arXiv:2305.13358)."""


@dataclass(frozen=True)
class LuminosityFunction:
    """How the absolute magnitudes M_G of a population are spread: a red clump on an exponential giant branch.

    Attributes:
        clump: share of the red clump among the stars with M_G < `M_LIMIT`.
        center, width: mean and standard deviation of M_G in the clump, mag.
        slope: of the giant branch, d ln N / d M_G, 1/mag.
    """

    clump: float
    center: float
    width: float
    slope: float

    def __post_init__(self):
        checks.numbers(self, clump=(0, 1), center=(-100, 100))
        checks.numbers(self, width=(checks.ABOVE_0, 100), slope=(checks.ABOVE_0, 100))

    def cdf(self, M) -> np.ndarray:
        """Number of stars brighter than M, over that with M_G < `M_LIMIT` (so it exceeds 1 for fainter M)."""
        M = np.asarray(M, float)
        peak = ndtr((M - self.center) / self.width) / ndtr((M_LIMIT - self.center) / self.width)
        return self.clump * peak + (1 - self.clump) * np.exp(self.slope * (M - M_LIMIT))

    def sample(self, n: int, rng: np.random.Generator, faintest: float = M_LIMIT) -> np.ndarray:
        """(n,) magnitudes M_G < faintest."""
        top = ndtr((faintest - self.center) / self.width)
        peak = self.clump * top / ndtr((M_LIMIT - self.center) / self.width)
        u = np.maximum(rng.random(n), np.finfo(float).tiny)
        clump = self.center + self.width * ndtri(u * top)
        branch = faintest + np.log(u) / self.slope
        return np.where(rng.random(n) * self.cdf(faintest) < peak, clump, branch)


YOUNG = LuminosityFunction(clump=0.45, center=0.35, width=0.25, slope=0.7)
"""A young disc: a broad clump and many bright stars."""

OLD = LuminosityFunction(clump=0.65, center=0.50, width=0.12, slope=1.0)
"""An old disc and halo: a narrow clump, few bright stars."""


def distance_modulus(distance) -> np.ndarray:
    """5 log10(d / 10 pc), mag, of distances in kpc."""
    return 5 * np.log10(100 * np.maximum(distance, 1e-9))


def faintest_seen(distance) -> np.ndarray:
    """The faintest M_G that passes both cuts at a distance [kpc] without dust, mag."""
    return np.minimum(M_LIMIT, G_LIMIT - distance_modulus(distance))
