"""Pure functions from a field, an array or a table to a HoloViews element; no models, no widgets, no browser."""

from clearview.figures.slices import arrows, marker, points, profile, slice_image
from clearview.figures.stars import count_field
from clearview.figures.style import Named, colours, limits_of, save_figure
from clearview.figures.training import loss_curve

__all__ = [
    "Named",
    "arrows",
    "colours",
    "count_field",
    "limits_of",
    "loss_curve",
    "marker",
    "points",
    "profile",
    "save_figure",
    "slice_image",
]
