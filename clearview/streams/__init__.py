"""The search for stellar streams: regions of the sky and of proper motion."""

from clearview.streams.regions import (
    CLOUDS,
    Fiducial,
    Patch,
    SignalRegion,
    drop_foreground,
    signal_regions,
    tile_sky,
)

__all__ = ["CLOUDS", "Fiducial", "Patch", "SignalRegion", "drop_foreground", "signal_regions", "tile_sky"]
