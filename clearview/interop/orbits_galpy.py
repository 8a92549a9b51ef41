"""A map as a galpy potential.

galpy's Galactocentric frame is left-handed: the Sun is at phi = 0 as in ours, and phi and vT grow along the disc's
rotation. So galpy's (R, z, phi) is (R, z, -phi) of the internal frame, and its vT is our v_phi.
"""

from typing import Any

import numpy as np
from galpy.potential.Potential import Potential

from clearview.checks import ABOVE_0, number
from clearview.interop.ball import BallPotential


class MapPotential(Potential):
    """A `BallPotential` in galpy's natural units; ``provenance`` says what it is, also beyond the ball."""

    def __init__(self, ball: BallPotential, ro: float = 8.0, vo: float = 220.0):
        super().__init__(amp=1.0, ro=ro, vo=vo)
        self._ball, self._ro_kpc, self._vo_kms = ball, float(ro), float(vo)
        self.isNonAxi, self.hasC, self.hasC_dxdv = True, False, False

    @property
    def provenance(self) -> dict[str, Any]:
        """Where it comes from, and ``outer``: what holds beyond the ball."""
        return self._ball.provenance

    def _at(self, R, z, phi):
        R, z, phi = np.broadcast_arrays(*(np.asarray(a, float) for a in (R, z, 0.0 if phi is None else phi)))
        x = self._ro_kpc * np.stack([R * np.cos(phi), -R * np.sin(phi), z], axis=-1)
        return R, phi, x.reshape(-1, 3)

    def _evaluate(self, R, z, phi=0.0, t=0.0):
        shape, _, x = self._at(R, z, phi)
        return self._ball.potential(x).reshape(shape.shape)[()] / self._vo_kms**2

    def _basis(self, R, phi):
        """Unit vectors of R, phi and z (N, 3, 3), rows, in the internal frame."""
        c, s, o = np.cos(phi).ravel(), np.sin(phi).ravel(), np.zeros(R.size)
        return np.stack([np.stack(v, -1) for v in ((c, -s, o), (-s, -c, o), (o, o, o + 1))], axis=1)

    def _force(self, R, z, phi, row):
        R, phi, x = self._at(R, z, phi)
        a = np.einsum("nij,nj->ni", self._basis(R, phi), self._ball.acceleration(x))[:, row].reshape(R.shape)
        return (a * (R if row == 1 else 1.0) * self._ro_kpc / self._vo_kms**2)[()]

    def _Rforce(self, R, z, phi=0.0, t=0.0):
        return self._force(R, z, phi, 0)

    def _phitorque(self, R, z, phi=0.0, t=0.0):
        return self._force(R, z, phi, 1)

    def _zforce(self, R, z, phi=0.0, t=0.0):
        return self._force(R, z, phi, 2)

    def _second(self, R, z, phi, i, j):
        R, phi, x = self._at(R, z, phi)
        e = self._basis(R, phi)
        h = np.einsum("nj,njk,nk->n", e[:, i], self._ball.hessian(x), e[:, j]).reshape(R.shape)
        return h * (self._ro_kpc / self._vo_kms) ** 2, R

    def _R2deriv(self, R, z, phi=0.0, t=0.0):
        return self._second(R, z, phi, 0, 0)[0][()]

    def _z2deriv(self, R, z, phi=0.0, t=0.0):
        return self._second(R, z, phi, 2, 2)[0][()]

    def _Rzderiv(self, R, z, phi=0.0, t=0.0):
        return self._second(R, z, phi, 0, 2)[0][()]

    def _phi2deriv(self, R, z, phi=0.0, t=0.0):
        h, radius = self._second(R, z, phi, 1, 1)
        return (h * radius**2 + radius * self._force(R, z, phi, 0))[()]

    def _Rphideriv(self, R, z, phi=0.0, t=0.0):
        h, radius = self._second(R, z, phi, 0, 1)
        return (h * radius - self._force(R, z, phi, 1) / radius)[()]

    def _phizderiv(self, R, z, phi=0.0, t=0.0):
        h, radius = self._second(R, z, phi, 1, 2)
        return (h * radius)[()]


def to_galpy(source, *, outer: Any = None, ro: float = 8.0, vo: float = 220.0) -> MapPotential:
    """A map as a potential of galpy (Bovy 2015, arXiv:1412.3451), without symmetry.

    In galpy's frame, (R, z, phi) is (R, z, -phi) of ours: a disc star has vT = v_phi > 0, so that
    ``Orbit(SkyCoord(...))`` and ``Orbit([R, vR, vT, z, vz, phi])`` work as for every Milky Way potential. Give the
    orbit the same ``ro`` and ``vo``. Integrate with a method of galpy that is not in C ("dop853", "odeint",
    "leapfrog"), and several orbits with ``numcores=1``, as JAX cannot be copied into other processes.

    Args:
        source: see `BallPotential`.
        outer: what holds beyond the ball; see `BallPotential`. None: leaving it raises an `OutsideBallError`.
        ro, vo: galpy's natural units, kpc and km/s. They change numbers, not the potential.

    Returns:
        A galpy Potential; its ``provenance`` says where it comes from and what holds beyond the ball.

    Raises:
        ValueError: see `BallPotential`.
    """
    number("ro", ro, ABOVE_0)
    number("vo", vo, ABOVE_0)
    return MapPotential(BallPotential(source, outer), ro, vo)
