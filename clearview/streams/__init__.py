"""Streams without a model of them: stars that are too many in a window of one variable, given all others."""

from clearview.streams.anomaly import Anode, Cathode, Cwola, Idealised, Scores, score_region, score_regions
from clearview.streams.bumps import Bump, SicCurve, bump_hunt, sic_curve, significance

__all__ = [
    "Anode",
    "Bump",
    "Cathode",
    "Cwola",
    "Idealised",
    "Scores",
    "SicCurve",
    "bump_hunt",
    "score_region",
    "score_regions",
    "sic_curve",
    "significance",
]
