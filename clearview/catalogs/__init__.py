"""Star catalogues: reading, units, cuts and frames."""

from .catalog import Catalog
from .frames import STREAMS, GreatCircle, to_cylindrical, to_galactocentric, to_patch, to_sky, to_stream
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
    "GreatCircle",
    "ParallaxQuality",
    "Positive",
    "ProperMotionWindow",
    "Speed",
    "completeness_limit",
    "read_catalog",
    "to_cylindrical",
    "to_galactocentric",
    "to_patch",
    "to_sky",
    "to_stream",
]
