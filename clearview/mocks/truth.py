"""The true potential, acceleration and density behind a mock, evaluated by galpy in the internal frame."""

from functools import lru_cache
from typing import Any

import numpy as np

from clearview.units import G

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


POTENTIALS = {"MWPotential2014": _mw2014, "heavier_disc": _heavier_disc}


class Truth:
    """A named galpy potential, evaluated at positions (N, 3) [kpc] of the internal frame."""

    def __init__(self, name: str = "MWPotential2014"):
        if name not in POTENTIALS:
            raise ValueError(f"Expected a potential among {', '.join(POTENTIALS)}, got {name!r}; choose one of them.")
        self.name, self.components = name, POTENTIALS[name]()

    @property
    def provenance(self) -> dict[str, str]:
        """Where its fields come from."""
        return {"potential_name": self.name}

    def _sum(self, method, x):
        x = np.asarray(x, float)
        R, z = np.hypot(x[..., 0], x[..., 1]) / RO, x[..., 2] / RO
        return np.sum([getattr(c, method)(R, z, use_physical=False) for c in self.components], axis=0)

    def acceleration(self, x) -> np.ndarray:
        """(N, 3) true acceleration, (km/s)^2/kpc."""
        x = np.asarray(x, float)
        R = np.maximum(np.hypot(x[..., 0], x[..., 1]), 1e-12)
        a_R, a_z = self._sum("Rforce", x) * VO**2 / RO, self._sum("zforce", x) * VO**2 / RO
        return np.stack([a_R * x[..., 0] / R, a_R * x[..., 1] / R, a_z], axis=-1)

    def potential(self, x) -> np.ndarray:
        """(N,) true potential, (km/s)^2, zero at infinity where galpy has it so."""
        return self._sum("__call__", x) * VO**2

    def density(self, x) -> np.ndarray:
        """(N,) true mass density, Msun/kpc^3."""
        return self._sum("dens", x) * VO**2 / RO**2 / G


@lru_cache(maxsize=8)
def _truth(name: str) -> Truth:
    return Truth(name)


def truth_of(catalog) -> Truth | None:
    """The truth behind a mock catalogue (any with ``meta["mock"]["potential"]``), or None for real stars."""
    name = (catalog.meta.get("mock") or {}).get("potential")
    return _truth(name) if name else None
