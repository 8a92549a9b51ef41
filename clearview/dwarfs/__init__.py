"""Dwarf spheroidal galaxies: from where their stars are and how fast they come, the dark halo around them."""

from clearview.dwarfs.fit import CoreOrCusp, DwarfConfig, DwarfFit, fit_binned, fit_dwarf, load_dwarf
from clearview.dwarfs.jeans import Anisotropy, Sphere, mass, pressure, variance_los
from clearview.dwarfs.radial import RadialFlow, fit_radial

__all__ = [
    "Anisotropy", "CoreOrCusp", "DwarfConfig", "DwarfFit", "RadialFlow", "Sphere", "fit_binned", "fit_dwarf",
    "fit_radial", "load_dwarf", "mass", "pressure", "variance_los",
]  # fmt: skip
