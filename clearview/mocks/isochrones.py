"""Colours and magnitudes of old stars in Gaia's bands: main sequence, turn-off, giant branch, horizontal branch.

Ridge lines by hand after the shapes of the PARSEC isochrones (Bressan et al. 2012, arXiv:1208.4498): the truth of a
mock, not a tool to measure ages or metallicities with.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from clearview import checks
from clearview.mocks.photometry import distance_modulus

_METALLICITIES = (-2.0, -1.0, 0.0)
_DWARF_M = np.array([-1.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 14.0, 16.0])
_DWARFS = np.array([
    [-0.20, 0.05, 0.22, 0.40, 0.55, 0.65, 0.80, 0.99, 1.20, 1.42, 1.60, 1.78, 1.95, 2.35, 2.9],
    [-0.20, 0.08, 0.26, 0.44, 0.59, 0.71, 0.92, 1.20, 1.55, 1.85, 2.05, 2.22, 2.40, 2.90, 3.6],
    [-0.20, 0.10, 0.30, 0.52, 0.70, 0.87, 1.10, 1.42, 1.80, 2.15, 2.45, 2.72, 3.00, 3.80, 4.8],
])  # fmt: skip
_GIANT_M = np.array([-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0])
_GIANTS = np.array([
    [1.75, 1.45, 1.22, 1.06, 0.95, 0.88, 0.83, 0.77, 0.72],
    [2.50, 1.95, 1.55, 1.30, 1.16, 1.07, 1.00, 0.94, 0.90],
    [3.60, 2.90, 2.20, 1.68, 1.42, 1.28, 1.19, 1.12, 1.06],
])  # fmt: skip
_LF_M = np.array(
    [-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 16.0]
)
_LF = np.array([-2.5, -0.7, 0.0, 0.35, 0.62, 0.9, 1.2, 1.6, 2.0, 2.4, 2.68, 2.7, 2.74, 2.85, 3.05, 3.3, 3.35, 3.3, 3.0])
_GRID = np.linspace(-4.0, 16.0, 4001)
_CLUMP_M, _CLUMP_WIDTH = 0.55, 0.12


@dataclass(frozen=True)
class StellarPopulation:
    """How stars of one kind are spread over the colour-magnitude diagram.

    Attributes:
        metallicity: mean [Fe/H], dex.
        spread: standard deviation of [Fe/H], dex.
        turn_off: M_G at which the oldest stars leave the main sequence, mag: about 4 after 12 Gyr.
        youngest: M_G at which the youngest do, mag; between the two it is uniform. None: all stars are old.
        clump: stars on the horizontal branch (or in the red clump) for each giant within 1 mag of it.
        binaries: share of stars with an unseen companion, up to 0.75 mag brighter on the main sequence.
    """

    metallicity: float = -1.5
    spread: float = 0.05
    turn_off: float = 4.0
    youngest: float | None = None
    clump: float = 0.6
    binaries: float = 0.2

    def __post_init__(self):
        checks.numbers(self, metallicity=(-4, 1), spread=(0, 2), turn_off=(-1, 6), clump=(0, 100), binaries=(0, 1))
        checks.numbers(self, optional=True, youngest=(-1, self.turn_off))

    def number_brighter(self, M) -> np.ndarray:
        """Relative number of stars brighter than the absolute magnitudes M."""
        return np.interp(M, _GRID, _cumulated(self.clump))

    def draw(self, faintest, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Stars brighter than a magnitude each.

        Args:
            faintest: (N,) the faintest M_G that is seen, mag.
            rng: random numbers.

        Returns:
            (N,) absolute magnitudes M_G and (N,) colours BP-RP, mag, without dust and errors.
        """
        faintest = np.asarray(faintest, float)
        n, seen = len(faintest), _cumulated(self.clump)
        M = np.interp(rng.random(n) * np.interp(faintest, _GRID, seen), seen, _GRID)
        metallicity = self.metallicity + self.spread * rng.standard_normal(n)
        turn_off = self.turn_off if self.youngest is None else rng.uniform(self.youngest, self.turn_off, n)
        # A companion reddens a star a little less than it brightens it: it lies above the main sequence.
        twin = 0.75 * rng.random(n) ** 2 * (rng.random(n) < self.binaries) * (turn_off + 0.5 < M)
        colour = ridge_line(M + twin, metallicity, turn_off)
        peak = self.clump * _bump(M)
        on_branch = rng.random(n) * (peak + 10 ** np.interp(M, _LF_M, _LF) / _at_clump()) < peak
        # Metal-poor horizontal branches are blue and long, metal-rich ones a clump beside the giants.
        blue = np.clip(-0.4 - 0.55 * metallicity, 0, 1) * rng.random(n)
        return M, np.where(on_branch, colour - 0.12 - 0.85 * blue, colour)


def ridge_line(M, metallicity, turn_off: Any = 4.0) -> np.ndarray:
    """BP-RP of stars of absolute magnitude M_G, [Fe/H] and turn-off magnitude, mag."""
    M = np.asarray(M, float)
    dwarf, giant = _between(M, _DWARF_M, _DWARFS, metallicity), _between(M, _GIANT_M, _GIANTS, metallicity)
    left = np.clip((turn_off + 0.3 - M) / 1.2, 0, 1)  # how far from the main sequence to the giants
    return dwarf + (giant - dwarf) * left**2 * (3 - 2 * left)


def color_error(G) -> np.ndarray:
    """Error of BP-RP of a star of magnitude G, mag: about that of Gaia DR3, 0.016 at 18, 0.04 at 19, 0.1 at 20."""
    return np.hypot(0.004, 0.1 * 10 ** (0.4 * (np.asarray(G, float) - 20)))


def faintest_at(distance, g_limit: float) -> np.ndarray:
    """The faintest M_G seen down to ``g_limit`` at distances [kpc] without dust, mag."""
    return np.minimum(g_limit - distance_modulus(distance), _GRID[-1])


def _between(M, at, rows, metallicity):
    values = np.stack([np.interp(M, at, row) for row in rows])
    t = np.clip((np.asarray(metallicity, float) - _METALLICITIES[0]), -0.5, 2.5)
    low = t < 1
    return np.where(low, values[0] + t * (values[1] - values[0]), values[1] + (t - 1) * (values[2] - values[1]))


def _bump(M):
    return np.exp(-0.5 * ((M - _CLUMP_M) / _CLUMP_WIDTH) ** 2) * 2 / (_CLUMP_WIDTH * np.sqrt(2 * np.pi))


def _at_clump():
    return 10 ** np.interp(_CLUMP_M, _LF_M, _LF)


def _cumulated(clump):
    counts = 10 ** np.interp(_GRID, _LF_M, _LF) / _at_clump() + clump * _bump(_GRID)
    return np.concatenate([[0.0], np.cumsum((counts[1:] + counts[:-1]) / 2) * (_GRID[1] - _GRID[0])])
