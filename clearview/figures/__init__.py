"""Pure functions from a field, an array or a table to a HoloViews element; no models, no widgets, no browser."""

from clearview.figures.data import data_of
from clearview.figures.dwarfs import dwarf_profile, star_map
from clearview.figures.frame import frame_of, pack
from clearview.figures.histograms import histogram
from clearview.figures.marginals import marginal, star_points
from clearview.figures.quality import quality_views
from clearview.figures.save import Still, picture, save_figure, show
from clearview.figures.showers import feature_histogram, layer_image
from clearview.figures.slices import (
    arrows,
    bars,
    contours,
    hatch,
    marker,
    path,
    points,
    profile,
    quantile_profile,
    slice_image,
    text,
)
from clearview.figures.stars import count_batches, count_field
from clearview.figures.streams import hough_image, line_path, sky_map, track_path, window_path
from clearview.figures.style import Named, colours, limits_of
from clearview.figures.training import loss_curve

__all__ = [
    "Named",
    "Still",
    "arrows",
    "bars",
    "colours",
    "contours",
    "count_batches",
    "count_field",
    "data_of",
    "dwarf_profile",
    "feature_histogram",
    "frame_of",
    "hatch",
    "histogram",
    "hough_image",
    "layer_image",
    "limits_of",
    "line_path",
    "loss_curve",
    "marginal",
    "marker",
    "pack",
    "path",
    "picture",
    "points",
    "profile",
    "quality_views",
    "quantile_profile",
    "save_figure",
    "show",
    "sky_map",
    "slice_image",
    "star_map",
    "star_points",
    "text",
    "track_path",
    "window_path",
]
