"""Constants, the Sun, and the one place where units are taken off and put back on.

Internally everything is in kpc, km/s and Msun, in a right-handed Galactocentric frame whose x and y are minus
those of astropy's ``Galactocentric``: the Sun sits at x = +8.122 kpc and the disc turns towards -y there, so that
L_z = x v_y - y v_x < 0 and v_phi = -L_z / R > 0 for the disc.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from astropy import units as u

from clearview.checks import number, shown

G = 4.30091e-6
"""Newton's constant in kpc (km/s)^2 / Msun."""

ACCELERATION_UNIT = "km2 s-2 kpc-1"


class Sun(NamedTuple):
    """Position [kpc] and velocity [km/s] of the Sun in the internal frame.

    Distance to the Galactic centre: GRAVITY Collaboration 2018 (arXiv:1807.09409); height: Bennett & Bovy 2019
    (arXiv:1809.03507); velocity: Drimmel & Poggio 2018 (RNAAS 2, 210), as in astropy's ``v4.0`` parameter set.
    """

    R: float = 8.122
    z: float = 0.0208
    v_radial: float = 12.9
    v_phi: float = 245.6
    v_z: float = 7.78

    @property
    def position(self) -> np.ndarray:
        """(3,) position, kpc."""
        # The Galactocentric frame is tilted so that the Sun's height is z; R is then the distance's projection.
        return np.array([np.sqrt(self.R**2 - self.z**2), 0.0, self.z])

    @property
    def velocity(self) -> np.ndarray:
        """(3,) velocity, km/s."""
        return np.array([-self.v_radial, -self.v_phi, self.v_z])


SUN = Sun()


def sun_of(values: Any) -> Sun:
    """A Sun, checked, from one or from a mapping of its fields.

    Raises:
        ValueError: if it is none, or nowhere beside the Galactic centre.
    """
    told = values._asdict() if isinstance(values, Sun) else values
    if not isinstance(told, Mapping) or not set(told) <= set(Sun._fields):
        raise ValueError(f"Expected the Sun as clearview.units.Sun, got {shown(values)}; write Sun(R=8.122, ...).")
    sun = Sun(**{name: number(f"{name} of the Sun", value, -1e6, 1e6) for name, value in told.items()})
    if not abs(sun.z) < sun.R:
        raise ValueError(f"Expected a Sun with R above |z|, got {sun.R:g} and {sun.z:g} kpc; correct them.")
    return sun


def strip(values, unit, *, name="the column") -> np.ndarray:
    """Plain numbers in ``unit`` from a Quantity (or anything carrying an astropy ``unit``).

    Raises:
        ValueError: if ``values`` carries no unit, or one that cannot be converted.
    """
    has = getattr(values, "unit", None)
    if has is None:
        raise ValueError(f"Expected {name} with a unit convertible to {unit}, got plain numbers; attach a unit.")
    try:
        return np.asarray(u.Quantity(values).to_value(unit))
    except u.UnitConversionError:
        raise ValueError(f"Expected {name} in a unit convertible to {unit}, got {has}; correct its unit.") from None


def attach(values, unit) -> u.Quantity:
    """``values`` as a Quantity in ``unit``."""
    return u.Quantity(values, unit)
