"""Maps for other programs: galpy and gala potentials, NetCDF and FITS files."""

from clearview.interop.ball import BallPotential, OutsideBallError
from clearview.interop.export import read_field, write_field
from clearview.interop.orbits_gala import to_gala
from clearview.interop.orbits_galpy import to_galpy

__all__ = ["BallPotential", "OutsideBallError", "read_field", "to_gala", "to_galpy", "write_field"]
