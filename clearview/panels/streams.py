"""Stars along a stream, against the smooth field around it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from clearview.figures import count_field, slice_image
from clearview.panels.columns import label, turned
from clearview.panels.compare import cells
from clearview.panels.controls import Choice, dropdown, slider
from clearview.panels.phasespace import PhaseSpacePanel, _names, _windows


class StreamsPanel(PhaseSpacePanel):
    """The sky along a stream: star counts in windows of proper motion, or how far they stand above their surroundings.

    Overdensity is (counts - smooth) / sqrt(smooth) in cells, where smooth are the counts in a Gaussian kernel of
    ``width``, less those in one a third as wide. It finds what the eye finds; it is no search for streams.

    Args:
        catalog: stars with ra and dec, and pmra and pmdec for the windows.
        stream: a name among `clearview.catalogs.STREAMS` or a `GreatCircle`, or None where the catalogue has phi1 and
            phi2 already.
        reflex_distance: kpc; see `clearview.Catalog.to_stream`.
        **kwargs: as `PhaseSpacePanel` takes them.

    Raises:
        KeyError, ValueError: as `clearview.Catalog.to_stream`, or if there is neither a stream nor phi1 and phi2.
    """
