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

__all__ = [
    "LOCAL",
    "Cancelled",
    "Comparison",
    "Memorisation",
    "Transfer",
    "difference_map",
    "memorisation",
    "three_sample_test",
    "two_sample_test",
]
