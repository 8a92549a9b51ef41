"""The search for stellar streams: where stars are too many, which of them lie along a line, and what that is worth."""

from clearview.streams.anomaly import Anode, Cathode, Cwola, Idealised, Scores, score_region, score_regions
from clearview.streams.lines import (
    Footprint,
    HoughConfig,
    Line,
    clumps,
    hough,
    line_pole,
    on_line,
    pole_line,
    strongest_line,
    strongest_lines,
)
from clearview.streams.regions import CLOUDS, Fiducial, Patch, SignalRegion, drop_foreground, signal_regions, tile_sky

__all__ = [
    "CLOUDS",
    "Anode",
    "Cathode",
    "Cwola",
    "Fiducial",
    "Footprint",
    "HoughConfig",
    "Idealised",
    "Line",
    "Patch",
    "Scores",
    "SignalRegion",
    "clumps",
    "drop_foreground",
    "hough",
    "line_pole",
    "on_line",
    "pole_line",
    "score_region",
    "score_regions",
    "signal_regions",
    "strongest_line",
    "strongest_lines",
    "tile_sky",
]
