"""The true potential, acceleration and density behind a mock, evaluated by galpy in the internal frame."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from clearview import checks
from clearview.units import SUN, G

RO, VO = 8.0, 220.0
"""galpy's natural units [kpc, km/s], with which MWPotential2014 is normalised (Bovy 2015, arXiv:1412.3451)."""


def _mw2014():
    from galpy.potential import MWPotential2014

    return list(MWPotential2014)


def _heavier_disc():
    from galpy.potential import MiyamotoNagaiPotential, NFWPotential, PowerSphericalPotentialwCutoff

    shares: dict[str, Any] = dict(bulge=0.05, disc=0.72, halo=0.23)  # of the radial force at 8 kpc
    return [
        PowerSphericalPotentialwCutoff(alpha=1.8, rc=1.9 / RO, normalize=shares["bulge"]),
        MiyamotoNagaiPotential(a=3.5 / RO, b=0.30 / RO, normalize=shares["disc"]),
        NFWPotential(a=14.0 / RO, normalize=shares["halo"]),
    ]


def _flattened_halo():
    from galpy.potential import LogarithmicHaloPotential, MiyamotoNagaiPotential, PowerSphericalPotentialwCutoff

    shares: dict[str, Any] = dict(bulge=0.05, disc=0.52, halo=0.43)  # of the radial force at 8 kpc
    return [
        PowerSphericalPotentialwCutoff(alpha=1.8, rc=1.9 / RO, normalize=shares["bulge"]),
        MiyamotoNagaiPotential(a=3.0 / RO, b=0.28 / RO, normalize=shares["disc"]),
        LogarithmicHaloPotential(core=4.0 / RO, q=0.8, normalize=shares["halo"]),
    ]


POTENTIALS = {"MWPotential2014": _mw2014, "heavier_disc": _heavier_disc, "flattened_halo": _flattened_halo}


@dataclass(frozen=True)
class Spiral:
    """A rotating wave in the potential: -amplitude R'^2 exp(1 - R'^2) Z(z) cos(arms (phi - phi_0 + cot(pitch) ln R')).

    R' = R/R_0 and Z = exp(-k [(z^2 + height^2)^1/2 - height]) with k = arms/(R_0 sin(pitch)), the wave's own number at
    the Sun's radius R_0, so that its mass lies near the plane, as in a spiral of Cox & Gomez (2002,
    arXiv:astro-ph/0207635). phi runs along the rotation, from 0 at the Sun; arms trail.

    Attributes:
        amplitude: at the Sun's radius, (km/s)^2. The largest a_phi there is arms * amplitude / R_0.
        arms: their number m.
        pitch: deg; 90 makes straight arms, a bar.
        phase: azimuth phi_0 of a trough of the potential at the Sun's radius, deg.
        speed: of the pattern, km/s/kpc.
        height: kpc.

    Raises:
        ValueError: for fewer than two arms, a pitch outside (0, 90] deg, a height that is not positive or a
            negative amplitude.
    """

    amplitude: float = 600.0
    arms: int = 2
    pitch: float = 25.0
    phase: float = 40.0
    speed: float = 20.0
    height: float = 0.4

    def __post_init__(self):
        checks.numbers(self, whole=True, arms=(2, 1000))
        checks.numbers(self, pitch=(checks.ABOVE_0, 90), height=(checks.ABOVE_0, checks.MOST))
        checks.numbers(self, amplitude=(0, checks.MOST), **dict.fromkeys(("phase", "speed"), (-1e9, 1e9)))

    def evaluate(self, x, turned=0.0, xp: Any = np):
        """Potential [(km/s)^2], acceleration, a triple [(km/s)^2/kpc], and its divergence at x (3, N).

        Args:
            x: (3, N) kpc, in the internal frame, or its three rows.
            turned: (N,) or a number: by what angle the pattern has turned from `phase`, rad.
            xp: numpy, or jax.numpy for orbits.
        """
        m, tilt, phase = self.arms, math.radians(self.pitch), math.radians(self.phase)
        wind, k = m / math.tan(tilt), m / (SUN.R * math.sin(tilt))
        R = xp.maximum(xp.sqrt(x[0] ** 2 + x[1] ** 2), 1e-6)
        s2, w = (R / SUN.R) ** 2, xp.sqrt(x[2] ** 2 + self.height**2)
        angle = wind * xp.log(R / SUN.R) - m * (xp.arctan2(x[1], x[0]) + phase + turned)
        wave = -self.amplitude * s2 * xp.exp(1 - s2 - k * (w - self.height))
        re, im, slope = wave * xp.cos(angle), wave * xp.sin(angle), 2 - 2 * s2  # slope: d ln(wave) / d ln R
        along_R, along_phi = -(slope * re - wind * im) / R, m * im / R
        c, s = x[0] / R, x[1] / R
        a = along_R * c + along_phi * s, along_R * s - along_phi * c, k * x[2] / w * re
        in_plane = (slope**2 - wind**2 - m**2 - 4 * s2) * re - 2 * slope * wind * im
        return re, a, -in_plane / R**2 - (k**2 * (x[2] / w) ** 2 - k * self.height**2 / w**3) * re


class Truth:
    """A named galpy potential, evaluated at positions (N, 3) [kpc] of the internal frame.

    Args:
        name: among `POTENTIALS`.
        spiral: a wave added to it, at the time of the snapshot.

    Raises:
        ValueError: for an unknown name.
    """

    def __init__(self, name: str = "MWPotential2014", spiral: Spiral | None = None):
        if name not in tuple(POTENTIALS):
            raise ValueError(f"Expected a potential among {', '.join(POTENTIALS)}, got {name!r}; choose one of them.")
        self.name, self.components, self.spiral = name, POTENTIALS[name](), spiral

    @property
    def provenance(self) -> dict[str, str]:
        """Where its fields come from."""
        return {"potential_name": self.name} | ({"spiral": str(self.spiral)} if self.spiral else {})

    def _wave(self, x):
        return self.spiral.evaluate(np.moveaxis(np.asarray(x, float), -1, 0)) if self.spiral else (0.0, None, 0.0)

    def _sum(self, method, x):
        x = np.asarray(x, float)
        R, z = np.hypot(x[..., 0], x[..., 1]) / RO, x[..., 2] / RO
        return np.sum([getattr(c, method)(R, z, use_physical=False) for c in self.components], axis=0)

    def acceleration(self, x) -> np.ndarray:
        """(N, 3) true acceleration, (km/s)^2/kpc."""
        x = np.asarray(x, float)
        R = np.maximum(np.hypot(x[..., 0], x[..., 1]), 1e-12)
        a_R, a_z = self._sum("Rforce", x) * VO**2 / RO, self._sum("zforce", x) * VO**2 / RO
        a, wave = np.stack([a_R * x[..., 0] / R, a_R * x[..., 1] / R, a_z], axis=-1), self._wave(x)[1]
        return a if wave is None else a + np.stack(wave, axis=-1)

    def potential(self, x) -> np.ndarray:
        """(N,) true potential, (km/s)^2, zero at infinity where galpy has it so."""
        return self._sum("__call__", x) * VO**2 + self._wave(x)[0]

    def density(self, x) -> np.ndarray:
        """(N,) true mass density, Msun/kpc^3."""
        return self._sum("dens", x) * VO**2 / RO**2 / G - self._wave(x)[2] / (4 * np.pi * G)


@lru_cache(maxsize=8)
def _truth(name: str, spiral: Spiral | None) -> Truth:
    return Truth(name, spiral)


def truth_of(catalog) -> Truth | None:
    """The truth behind a mock catalogue (any with ``meta["mock"]["potential"]``), or None for real stars."""
    mock = catalog.meta.get("mock") or {}
    name, spiral = mock.get("potential"), mock.get("spiral")
    return _truth(name, Spiral(**spiral) if spiral else None) if name else None
