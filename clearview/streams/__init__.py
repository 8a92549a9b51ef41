"""Streams without a model of them: stars that are too many in a window of one variable, given all others."""

from clearview.streams.anomaly import Anode, Cathode, Cwola, Idealised, Scores, score_region, score_regions

__all__ = [
    "Anode",
    "Cathode",
    "Cwola",
    "Idealised",
    "Scores",
    "score_region",
    "score_regions",
]
