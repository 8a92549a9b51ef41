"""Star catalogues: reading, units, cuts and frames."""

from .catalog import Catalog
from .deredden import LAWS, deredden
from .errors import Resampled, resample
from .frames import STREAMS, GreatCircle, to_cylindrical, to_galactocentric, to_patch, to_sky, to_stream
from .gaia import GaiaBall, GaiaCancelled, GaiaError, GaiaPatch, query_gaia
from .particles import Particles, read_particles
from .quality import Quality, quality
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
    Outliers,
    ParallaxQuality,
    Positive,
    ProperMotionWindow,
    Speed,
    Unique,
    completeness_limit,
)

__all__ = [
    "LAWS",
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
    "Outliers",
    "ParallaxQuality",
    "Particles",
    "Positive",
    "ProperMotionWindow",
    "Quality",
    "Resampled",
    "Speed",
    "Unique",
    "completeness_limit",
    "deredden",
    "quality",
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
