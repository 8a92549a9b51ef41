"""Star catalogues: reading, units, cuts and frames."""

from .catalog import Catalog
from .errors import Resampled, resample
from .frames import STREAMS, GreatCircle, to_cylindrical, to_galactocentric, to_patch, to_sky, to_stream
from .gaia import GaiaBall, GaiaCancelled, GaiaError, GaiaPatch, query_gaia
from .large import LargeCancelled, LargeCatalog, load_prepared, open_catalog
from .particles import Particles, read_particles
from .read import read_catalog
from .select import (
    AbsoluteMagnitude,
    ApparentMagnitude,
    Ball,
    Box,
    Cut,
    CutReport,
    Distance,
    Finite,
    ParallaxQuality,
    Positive,
    ProperMotionWindow,
    Speed,
    completeness_limit,
)

__all__ = [
    "STREAMS",
    "AbsoluteMagnitude",
    "ApparentMagnitude",
    "Ball",
    "Box",
    "Catalog",
    "Cut",
    "CutReport",
    "Distance",
    "Finite",
    "GaiaBall",
    "GaiaCancelled",
    "GaiaError",
    "GaiaPatch",
    "GreatCircle",
    "LargeCancelled",
    "LargeCatalog",
    "ParallaxQuality",
    "Particles",
    "Positive",
    "ProperMotionWindow",
    "Resampled",
    "Speed",
    "completeness_limit",
    "load_prepared",
    "open_catalog",
    "query_gaia",
    "read_catalog",
    "read_particles",
    "resample",
    "to_cylindrical",
    "to_galactocentric",
    "to_patch",
    "to_sky",
    "to_stream",
]
