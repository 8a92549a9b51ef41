"""What one does without a flow: each particle becomes a cloud of stars, as large as its neighbourhood."""

from dataclasses import dataclass

import numpy as np

from clearview import checks
from clearview.catalogs import Catalog
from clearview.generation.space import edge


@dataclass(frozen=True)
class KernelSampler:
    """An adaptive kernel in six dimensions, after EnBiD (Sharma & Steinmetz 2006, arXiv:astro-ph/0507550).

    A tree halves the particles, each time along the coordinate in which they are the least evenly spread (the lowest
    entropy), down to leaves of a few. A star is a particle plus a step drawn from an Epanechnikov kernel whose width
    along each coordinate is that of the particle's leaf, as Galaxia spreads its stars (Sharma et al. 2011,
    arXiv:1101.3561). Stars do not leave the ball, if there is one.

    Attributes:
        points: (N, 6) particles, kpc and km/s.
        widths: (N, 6) standard deviations of their kernels.
        shares: (N,) cumulated weights.
        center, radius: of the ball, kpc; radius None is none.
    """

    points: np.ndarray
    widths: np.ndarray
    shares: np.ndarray
    center: tuple[float, ...]
    radius: float | None

    @classmethod
    def of(
        cls, catalog: Catalog, weights: str | None = None, *, radius: float | None = None,
        center: tuple[float, ...] = (0.0, 0.0, 0.0), neighbours: int = 8,
    ) -> "KernelSampler":  # fmt: skip
        """Kernels for the particles of a catalogue.

        Args:
            catalog: with phase space.
            weights: column with the weights of the particles.
            radius, center: of a ball that stars are kept in, kpc.
            neighbours: particles of a leaf, at most.

        Raises:
            KeyError, ValueError: as `clearview.generation.fit_upsampler`.
        """
        # Here, since the flow's module brings JAX along.
        from clearview.generation.upsample import UpsampleConfig, _particles

        checks.number("neighbours", neighbours, 4, 10**6, whole=True)
        points, _, weight, _ = _particles(catalog, UpsampleConfig(radius, center, weights))
        return cls(points, _widths(points, neighbours), np.cumsum(weight) / weight.sum(), center, radius)

    def sample(self, n: int, seed: int = 0) -> np.ndarray:
        """(n, 6) float32 stars: x, y, z [kpc], vx, vy, vz [km/s]."""
        checks.number("n", n, 1, 10**9, whole=True)
        rng = np.random.default_rng(checks.number("seed", seed, *checks.SEEDS, whole=True))
        out = np.empty((n, 6), np.float32)
        chosen, left = np.minimum(np.searchsorted(self.shares, rng.random(n)), len(self.points) - 1), np.arange(n)
        while len(left):
            # Another step of the same particle: another one would thin out the edge.
            made = self.points[chosen[left]] + self.widths[chosen[left]] * _epanechnikov(rng, len(left))
            out[left] = made
            if self.radius is None:
                break
            left = left[
                np.linalg.norm(made[:, :3] - self.center, axis=1) >= self.radius * edge(self.center, self.radius)
            ]
        return out


def _epanechnikov(rng, n: int) -> np.ndarray:
    """(n, 6) steps of unit variance from the kernel 1 - s^2."""
    direction = rng.standard_normal((n, 6))
    # s^2 of the kernel in d dimensions is a beta variable of d/2 and 2, whose mean is d/(d + 4).
    s2 = rng.beta(3.0, 2.0, n)
    return direction / np.linalg.norm(direction, axis=1, keepdims=True) * np.sqrt(10 * s2)[:, None]


def _widths(points, most: int) -> np.ndarray:
    """(N, 6) standard deviation of the leaf of each particle along each coordinate."""
    widths, stack = np.empty(points.shape), [np.arange(len(points))]
    while stack:
        rows = stack.pop()
        inside = points[rows]
        if len(rows) <= most:
            # That of an even spread over as much as the leaf takes up, the half gaps at its ends included.
            extent = np.ptp(inside, axis=0) * (len(rows) + 1) / max(len(rows) - 1, 1)
            widths[rows] = extent / np.sqrt(12)
            continue
        axis = _most_uneven(inside)
        half = len(rows) // 2
        order = np.argpartition(inside[:, axis], half)
        stack += [rows[order[:half]], rows[order[half:]]]
    return widths


def _most_uneven(points) -> int:
    """The coordinate with the lowest entropy of its histogram; the widest tail, for a few points."""
    low, extent = points.min(0), np.ptp(points, axis=0)
    bins = int(np.clip(np.sqrt(len(points)), 2, 64))
    at = np.minimum((bins * (points - low) / np.where(extent > 0, extent, 1)).astype(int), bins - 1)
    entropy = np.empty(points.shape[1])
    for i in range(points.shape[1]):
        share = np.bincount(at[:, i], minlength=bins) / len(points)
        entropy[i] = -(share[share > 0] * np.log(share[share > 0])).sum() if extent[i] > 0 else np.inf
    return int(entropy.argmin())
