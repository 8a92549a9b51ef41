"""Stellar streams: where stars are too many, and which of them lie along a line."""

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

__all__ = [
    "Footprint",
    "HoughConfig",
    "Line",
    "clumps",
    "hough",
    "line_pole",
    "on_line",
    "pole_line",
    "strongest_line",
    "strongest_lines",
]
