"""The search for stellar streams: where stars are too many, which of them lie along a line, and what that is worth."""

from clearview.streams.anomaly import Anode, Cathode, Cwola, Idealised, Scores, score_region, score_regions
from clearview.streams.bumps import Bump, SicCurve, bump_hunt, sic_curve, significance
from clearview.streams.config import ScanConfig
from clearview.streams.found import Scan, load_scan, track_of
from clearview.streams.known import known_streams, match_known, nearest_known, tracks_in
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
from clearview.streams.members import MemberConfig, Members, fit_members
from clearview.streams.merge import MergeConfig, Protocluster, Protostream, Stream, merge_lines, merge_patches
from clearview.streams.nulls import Null, null_scans, permuted, smoothed
from clearview.streams.published import protostreams
from clearview.streams.regions import CLOUDS, Fiducial, Patch, SignalRegion, drop_foreground, signal_regions, tile_sky
from clearview.streams.scan import Excess, Found, find_lines, follow, scan_patch
from clearview.streams.view import score_patch, view_of

__all__ = [
    "CLOUDS",
    "Anode",
    "Bump",
    "Cathode",
    "Cwola",
    "Excess",
    "Fiducial",
    "Footprint",
    "Found",
    "HoughConfig",
    "Idealised",
    "Line",
    "MemberConfig",
    "Members",
    "MergeConfig",
    "Null",
    "Patch",
    "Protocluster",
    "Protostream",
    "Scan",
    "ScanConfig",
    "Scores",
    "SicCurve",
    "SignalRegion",
    "Stream",
    "bump_hunt",
    "clumps",
    "drop_foreground",
    "find_lines",
    "fit_members",
    "follow",
    "hough",
    "known_streams",
    "line_pole",
    "load_scan",
    "match_known",
    "merge_lines",
    "merge_patches",
    "nearest_known",
    "null_scans",
    "on_line",
    "permuted",
    "pole_line",
    "protostreams",
    "scan_patch",
    "score_patch",
    "score_region",
    "score_regions",
    "sic_curve",
    "signal_regions",
    "significance",
    "smoothed",
    "strongest_line",
    "strongest_lines",
    "tile_sky",
    "track_of",
    "tracks_in",
    "view_of",
]  # fmt: skip
