"""Constants, the Sun, and the one place where units are taken off and put back on.

Internally everything is in kpc, km/s and Msun, in a right-handed Galactocentric frame whose x and y are minus
those of astropy's ``Galactocentric``: the Sun sits at x = +8.122 kpc and the disc turns towards -y there, so that
L_z = x v_y - y v_x < 0 and v_phi = -L_z / R > 0 for the disc.
"""

from collections.abc import Mapping
from difflib import get_close_matches
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

    @property
    def name(self) -> str:
        """Its name in `SUNS`; empty if it is none of them."""
        return next((name for name, sun in SUNS.items() if sun == self), "")

    def to_dict(self) -> dict[str, Any]:
        """Name and numbers, plain JSON values."""
        return {"name": self.name, **self._asdict()}

    @classmethod
    def of(cls, sun: Any) -> "Sun":
        """A Sun, checked, from one, from the numbers of `to_dict`, or the one of that name in `SUNS`.

        Raises:
            ValueError: for another name, or numbers that no Sun can have.
        """
        if isinstance(sun, str):
            if sun not in SUNS:
                near = get_close_matches(sun.lower(), SUNS, 1)
                hint = f"did you mean {near[0]!r}?" if near else "choose one, or give Sun(R=, z=, v_radial=, ...)."
                raise ValueError(f"Expected a Sun among {', '.join(SUNS)}, got {shown(sun)}; {hint}")
            return SUNS[sun]
        told = sun._asdict() if isinstance(sun, Sun) else sun
        if not isinstance(told, Mapping) or not set(told) <= {"name", *cls._fields}:
            raise ValueError(f"Expected the Sun as clearview.units.Sun, got {shown(sun)}; write Sun(R=8.122, ...).")
        found = cls(**{n: number(f"{n} of the Sun", v, -1e6, 1e6) for n, v in told.items() if n != "name"})
        if not abs(found.z) < found.R:
            raise ValueError(f"Expected a Sun with R above |z|, got {found.R:g} and {found.z:g} kpc; correct them.")
        return found


SUN = Sun()

SUNS = {
    "gravity2018": SUN,
    "gravity2019": Sun(8.178, 0.0208, 11.1, 248.5, 8.5),
    "gravity2021": Sun(8.275, 0.0208, 8.4, 251.8, 8.4),
    "schoenrich2010": Sun(8.3, 0.027, 11.1, 232.24, 7.25),
}
"""Published choices by name.

gravity2018: the default, see `Sun`. gravity2019: R of GRAVITY Collaboration 2019 (arXiv:1904.05721), height of Bennett
& Bovy 2019, v_phi and v_z as the motion of Sgr A* by Reid & Brunthaler 2020 (arXiv:2001.04386: 6.411 and 0.219 mas/yr)
seen from there, v_radial of Schoenrich, Binney & Dehnen 2010 (arXiv:0912.3693). gravity2021: R of GRAVITY Collaboration
2021 (A&A 647, A59), velocity as in Hunt et al. 2022 (arXiv:2206.06125), height of Bennett & Bovy 2019.
schoenrich2010: velocity of Schoenrich, Binney & Dehnen 2010 on 220 km/s, R of Gillessen et al. 2009 (arXiv:0810.4674)
and height of Chen et al. 2001, as in astropy's ``pre-v4.0`` parameter set."""


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
