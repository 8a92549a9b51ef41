"""A map as a gala potential, in the right-handed frame of astropy's ``Galactocentric``: x and y are minus ours."""

from typing import Any

import numpy as np

from clearview.interop.ball import BallPotential

_FLIP = np.array([-1.0, -1.0, 1.0])


def to_gala(source, *, outer: Any = None, units=None):
    """A map as a potential of gala (Price-Whelan 2017, JOSS 2, 388), without symmetry.

    Places and velocities are those of astropy's ``Galactocentric`` frame, the Sun at x = -8.122 kpc and the disc
    turning towards +y there: a SkyCoord transformed to it can be integrated as it is. It has energies, gradients,
    Hessians and the density that its Laplacian asks for; it is evaluated in Python, many orbits at a time.

    Args:
        source: see `BallPotential`.
        outer: what holds beyond the ball; see `BallPotential`. None: leaving it raises an `OutsideBallError`.
        units: a gala UnitSystem; ``gala.units.galactic`` by default.

    Returns:
        A gala PotentialBase; its ``provenance`` says where it comes from and what holds beyond the ball.

    Raises:
        ImportError: if gala is not installed.
        ValueError: see `BallPotential`.
    """
    try:
        from astropy import units as u
        from gala.potential import PotentialBase
        from gala.units import galactic
    except ImportError as missing:
        raise ImportError("Expected gala, got none; run pip install gala.") from missing

    class MapPotential(PotentialBase):
        """A `BallPotential` in gala."""

        def __init__(self, ball: BallPotential, units=galactic):
            super().__init__(units=units)
            self.ball, self.provenance = ball, ball.provenance
            length: Any = self.units["length"]
            ours: Any = u.Unit("km2 / s2")
            self._kpc, self._energy_unit = length.to("kpc"), ours.to(length**2 / self.units["time"] ** 2)

        def replicate(self, **kwargs):
            return type(self)(self.ball, kwargs.get("units", self.units))

        def integrate_orbit(self, *args, **kwargs):
            self.ball.refused = None
            try:
                return super().integrate_orbit(*args, **kwargs)
            except Exception:
                if self.ball.refused is not None:  # scipy's compiled integrators bury it under errors of their own
                    raise self.ball.refused from None
                raise

        def _energy(self, q, t=0.0):
            return self.ball.potential(q * self._kpc * _FLIP) * self._energy_unit

        def _gradient(self, q, t=0.0):
            a = self.ball.acceleration(q.T * self._kpc * _FLIP)
            return np.ascontiguousarray((-a * _FLIP).T * self._energy_unit * self._kpc)

        def _hessian(self, q, t=0.0):
            h = self.ball.hessian(q * self._kpc * _FLIP) * _FLIP[:, None] * _FLIP
            return np.moveaxis(h, 0, -1) * self._energy_unit * self._kpc**2

        def _density(self, q, t=0.0):
            return np.einsum("iin->n", self._hessian(q)) / (4 * np.pi * self.G)

    return MapPotential(BallPotential(source, outer), galactic if units is None else units)
