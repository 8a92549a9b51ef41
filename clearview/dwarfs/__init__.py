"""Dwarf spheroidal galaxies: from where their stars are and how fast they come, the dark halo around them."""

from clearview.dwarfs.bins import Estimate, bin_stars, mass_estimates
from clearview.dwarfs.fit import CoreOrCusp, DwarfConfig, DwarfFit, fit_binned, fit_dwarf, load_dwarf
from clearview.dwarfs.jeans import Anisotropy, Sphere, mass, moments_los, pressure
from clearview.dwarfs.published import Published, published_of
from clearview.dwarfs.radial import RadialFlow, fit_radial
from clearview.dwarfs.score import GalaxyScoreConfig, GalaxyScoreFit, fit_galaxy_score
from clearview.dwarfs.smeared import InnerSlope, JFlow, JFlowConfig, JFlowFit, fit_jflow, load_jflow
from clearview.dwarfs.spherical import SphericalCNF, SphericalConfig, VelocityEllipsoid

__all__ = [
    "Anisotropy",
    "CoreOrCusp",
    "DwarfConfig",
    "DwarfFit",
    "Estimate",
    "GalaxyScoreConfig",
    "GalaxyScoreFit",
    "InnerSlope",
    "JFlow",
    "JFlowConfig",
    "JFlowFit",
    "Published",
    "RadialFlow",
    "Sphere",
    "SphericalCNF",
    "SphericalConfig",
    "VelocityEllipsoid",
    "bin_stars",
    "fit_binned",
    "fit_dwarf",
    "fit_galaxy_score",
    "fit_jflow",
    "fit_radial",
    "load_dwarf",
    "load_jflow",
    "mass",
    "mass_estimates",
    "moments_los",
    "pressure",
    "published_of",
]
