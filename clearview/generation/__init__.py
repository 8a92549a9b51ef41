"""New stars from learnt ones, and the tests that say whether they can be told from the old."""

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
from clearview.generation.kernel import KernelSampler
from clearview.generation.photometry import Photometry
from clearview.generation.space import Space
from clearview.generation.upsample import (
    UpsampleConfig,
    Upsampler,
    default_config,
    estimate_seconds,
    fit_upsampler,
    load_upsampler,
)

__all__ = [
    "LOCAL",
    "Cancelled",
    "Comparison",
    "KernelSampler",
    "Memorisation",
    "Photometry",
    "Space",
    "Transfer",
    "UpsampleConfig",
    "Upsampler",
    "default_config",
    "difference_map",
    "estimate_seconds",
    "fit_upsampler",
    "load_upsampler",
    "local",
    "memorisation",
    "three_sample_test",
    "two_sample_test",
]
