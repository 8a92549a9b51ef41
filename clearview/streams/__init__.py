"""Stellar streams: lines of stars in patches of the sky, streams made of them, and which of these are known."""

from clearview.streams.known import known_streams, match_known, tracks_in
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
from clearview.streams.merge import MergeConfig, Protocluster, Protostream, Stream, merge_lines, merge_patches

__all__ = [
    "Footprint",
    "HoughConfig",
    "Line",
    "MergeConfig",
    "Protocluster",
    "Protostream",
    "Stream",
    "clumps",
    "hough",
    "known_streams",
    "line_pole",
    "match_known",
    "merge_lines",
    "merge_patches",
    "on_line",
    "pole_line",
    "strongest_line",
    "strongest_lines",
    "tracks_in",
]
