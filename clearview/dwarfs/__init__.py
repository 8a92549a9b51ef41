"""Dwarf spheroidal galaxies: from three coordinates of their stars to the dark halo."""

from clearview.dwarfs.smeared import JFlow, JFlowConfig, JFlowFit, fit_jflow
from clearview.dwarfs.spherical import Anisotropy, SphericalCNF, SphericalConfig, VelocityEllipsoid

__all__ = [
    "Anisotropy",
    "JFlow",
    "JFlowConfig",
    "JFlowFit",
    "SphericalCNF",
    "SphericalConfig",
    "VelocityEllipsoid",
    "fit_jflow",
]
