"""New stars from learnt ones, and the tests that say whether they can be told from the old."""

from clearview.generation.compare import (
    LOCAL,
    Cancelled,
    Comparison,
    Memorisation,
    Transfer,
    difference_map,
    memorisation,
    three_sample_test,
    two_sample_test,
)
from clearview.generation.distill import DistillConfig, Distilled, distill
from clearview.generation.showers import (
    ShowerConfig,
    ShowerFit,
    feature_distances,
    fit_showers,
    load_showers,
    voxel_table,
)

__all__ = [
    "LOCAL",
    "Cancelled",
    "Comparison",
    "DistillConfig",
    "Distilled",
    "Memorisation",
    "ShowerConfig",
    "ShowerFit",
    "Transfer",
    "difference_map",
    "distill",
    "feature_distances",
    "fit_showers",
    "load_showers",
    "memorisation",
    "three_sample_test",
    "two_sample_test",
    "voxel_table",
]
