"""Stars and showers as many as one likes: flows of star particles, students that draw fast, and what judges them."""

from clearview.generation.compare import (
    LOCAL,
    Cancelled,
    Comparison,
    Memorisation,
    Transfer,
    difference_map,
    local,
    memorisation,
    three_sample_test,
    two_sample_test,
)
from clearview.generation.distill import DistillConfig, Distilled, distill
from clearview.generation.kernel import KernelSampler
from clearview.generation.photometry import Photometry
from clearview.generation.showers import (
    ShowerConfig,
    ShowerFit,
    feature_distances,
    fit_showers,
    load_showers,
    voxel_table,
)
from clearview.generation.space import Space
from clearview.generation.upsample import (
    UpsampleConfig,
    Upsampler,
    default_config,
    estimate_seconds,
    fit_upsampler,
    load_upsampler,
    weights_of,
)

__all__ = [
    "LOCAL",
    "Cancelled",
    "Comparison",
    "DistillConfig",
    "Distilled",
    "KernelSampler",
    "Memorisation",
    "Photometry",
    "ShowerConfig",
    "ShowerFit",
    "Space",
    "Transfer",
    "UpsampleConfig",
    "Upsampler",
    "default_config",
    "difference_map",
    "distill",
    "estimate_seconds",
    "feature_distances",
    "fit_showers",
    "fit_upsampler",
    "load_showers",
    "load_upsampler",
    "local",
    "memorisation",
    "three_sample_test",
    "two_sample_test",
    "voxel_table",
    "weights_of",
]
