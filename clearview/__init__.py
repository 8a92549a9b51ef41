"""ClearView: see the Milky Way's dark matter and stellar streams in your own notebook.

The names here are loaded when first used, so that ``import clearview`` stays light and screen libraries are
imported only by those who draw.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "Catalog": "catalogs",
    "read_catalog": "catalogs",
    "open_catalog": "catalogs",
    "query_gaia": "catalogs",
    "quality": "catalogs",
    "GaiaBall": "catalogs",
    "GaiaPatch": "catalogs",
    "load_sample": "samples",
    "load_first_map": "samples",
    "mock_dwarf": "mocks",
    "mock_galaxy": "mocks",
    "mock_patch": "mocks",
    "mock_showers": "mocks",
    "read_showers": "calorimeter",
    "DwarfConfig": "dwarfs",
    "fit_dwarf": "dwarfs",
    "load_dwarf": "dwarfs",
    "UpsampleConfig": "generation",
    "fit_upsampler": "generation",
    "load_upsampler": "generation",
    "ShowerConfig": "generation",
    "fit_showers": "generation",
    "load_showers": "generation",
    "fit_columns": "flows",
    "fit_map": "dynamics",
    "load_columns": "flows",
    "load_fit": "dynamics",
    "load_map": "dynamics",
    "save_fit": "dynamics",
    "save_map": "dynamics",
    "Job": "jobs",
    "Patch": "streams",
    "ScanConfig": "streams",
    "SkyScan": "streams.allsky",
    "scan_sky": "streams.allsky",
    "load_scan": "streams",
    "scan_patch": "streams",
    "PotentialConfig": "dynamics",
    "MapConfig": "dynamics",
    "AccelerationPanel": "panels",
    "DensityPanel": "panels",
    "DustPanel": "panels",
    "DwarfPanel": "panels",
    "ExcessPanel": "panels",
    "JobPanel": "panels",
    "PhaseSpacePanel": "panels",
    "ProfilePanel": "panels",
    "ShowerPanel": "panels",
    "StarsPanel": "panels",
    "StreamPanel": "panels",
    "UpsamplePanel": "panels",
    "explore": "panels",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name):
    if name in _HOME:
        return getattr(import_module(f"clearview.{_HOME[name]}"), name)
    raise AttributeError(f"clearview has no attribute {name!r}; it has {', '.join(__all__)}.")


def __dir__():
    return __all__
