"""Showers by a few formulas: a stand-in for a simulation of the particles one by one, with its truth in the numbers.

Along the depth a gamma profile (Longo & Sestili 1975) whose shape varies from shower to shower as in Grindhammer &
Peters 2000 (hep-ex/0001020), across it two exponentials, and spots of energy that are counted. Nothing of it was fitted
to a detector.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammainc

from clearview import checks
from clearview.calorimeter import CALOGAN, Geometry, Showers


@dataclass(frozen=True)
class Particle:
    """What showers of a kind are like.

    Attributes:
        start: mean depth at which they begin, radiation lengths; exponential.
        earlier: by which their maximum lies before ln(E / 10 MeV), radiation lengths.
        stretch: of the depth, 1 for electrons.
        core, tail: mean radii of the two exponentials, in Molière radii.
        inner: share of the core.
        visible: mean share of the energy that is seen.
        spread: of that share from shower to shower.
    """

    start: float
    earlier: float
    stretch: float = 1.0
    core: float = 0.2
    tail: float = 0.8
    inner: float = 0.85
    visible: float = 1.0
    spread: float = 0.01


PARTICLES = {
    "electron": Particle(0.0, 0.81),
    "photon": Particle(9 / 7, 0.31),
    "pion": Particle(9.0, 0.81, stretch=2.5, core=0.5, tail=2.5, inner=0.55, visible=0.8, spread=0.12),
}
"""By name. "pion" is only like one: it begins late, is long and wide, and its seen share varies."""

CRITICAL = 10.0
"""Energy at which a shower stops to grow, MeV."""


def mock_showers(
    n: int, particle: str = "electron", *, geometry: Geometry = CALOGAN, energies=(1e3, 1e5), moliere: float = 40.0,
    spot: float = 50.0, seed: int = 0,
) -> Showers:  # fmt: skip
    """Mock showers, a stand-in for simulated ones.

    Args:
        n: how many.
        particle: "electron", "photon" or "pion".
        geometry: of the calorimeter; the particle comes along its axis.
        energies: (low, high) of the incident particles, MeV, uniform; or (n,) of each, if n is not 2.
        moliere: radius, mm, by which they are wide.
        spot: mean energy of a spot, MeV: fewer and larger ones fluctuate more.
        seed: of all random numbers.

    Raises:
        ValueError: for another particle, energies at or below 30 MeV or above 10 TeV, or numbers out of bounds.
    """
    n = checks.number("n", n, 1, 10**8, whole=True)
    if particle not in PARTICLES:
        raise ValueError(f"Expected a particle among {', '.join(PARTICLES)}, got {particle!r}; choose one.")
    kind = PARTICLES[particle]
    checks.a(geometry, Geometry, "a Geometry")
    moliere, spot = checks.number("moliere", moliere, 1e-3, 1e6), checks.number("spot", spot, 0.1, 1e5)
    rng = np.random.default_rng([checks.number("seed", seed, *checks.SEEDS, whole=True), 8])
    given = np.asarray(energies, float).ravel()
    ends = len(given) == 2  # of two showers, too
    if len(given) not in (2, n) or not np.all((given > 30) & (given <= 1e7)) or (ends and given[1] < given[0]):
        raise ValueError(
            f"Expected (low, high) or {n} energies above 30 MeV to 10 TeV, got {checks.shown(energies)}; correct them."
        )
    E = rng.uniform(given[0], given[1], n) if ends else given
    ln_y = np.log(E / CRITICAL)
    # Maximum and shape vary together.
    one, two = rng.standard_normal((2, n))
    mixed = 0.6 * one + 0.8 * two
    top = np.maximum(ln_y - kind.earlier, 0.3) * np.exp(one / np.maximum(1.26 * ln_y - 1.4, 2))
    shape = (0.81 + 0.5 * ln_y) * np.exp(mixed / np.maximum(0.86 * ln_y - 0.58, 2))
    shape = np.maximum(shape, 1.05)
    start = rng.exponential(kind.start, n) if kind.start else np.zeros(n)
    seen = E * np.clip(kind.visible + kind.spread * rng.standard_normal(n), 0.05, 1.2)

    depth = np.cumsum([0.0, *(k.thickness for k in geometry.layers)])
    rate = (shape - 1) / (top * kind.stretch)
    inside = gammainc(shape[:, None], rate[:, None] * np.maximum(depth - start[:, None], 0))
    spots = rng.poisson(seen[:, None] * np.diff(inside, axis=1) / spot)
    voxels = np.zeros((n, geometry.size), np.float32)
    middle = 0.5 * (depth[1:] + depth[:-1])
    for i, (k, part) in enumerate(zip(geometry.layers, geometry.slices, strict=True)):
        wider = moliere * (0.6 + 0.8 * middle[i] / depth[-1])
        for rows in np.array_split(np.arange(n), max(1, int(spots[:, i].sum() // 10**6))):
            whose = np.repeat(np.arange(len(rows)), spots[rows, i])
            core = rng.random(len(whose)) < kind.inner
            r = wider * np.where(core, kind.core, kind.tail) * rng.standard_exponential(len(whose))
            angle = rng.uniform(-np.pi, np.pi, len(whose))
            voxel = k.voxel(r * np.cos(angle), r * np.sin(angle))
            hit = voxel >= 0
            energy = rng.gamma(3.0, spot / 3, len(whose))
            held = np.bincount(whose[hit] * k.size + voxel[hit], energy[hit], len(rows) * k.size)
            voxels[rows, part] = held.reshape(len(rows), k.size)
    return Showers(geometry, E, voxels, f"mock: {particle} showers by formulas, not simulated")
