"""Mock catalogues with a known answer. galpy provides the truth and is imported only here."""

from clearview.mocks.disturbed import lumpy_galaxy, stir
from clearview.mocks.dust import (
    TRACERS,
    Dust,
    DustField,
    DustTruth,
    DustyGalaxy,
    Tracer,
    counted_efficiency,
    dust_truth_of,
    dusty_galaxy,
)
from clearview.mocks.errors import add_errors
from clearview.mocks.galaxy import Population, mock_galaxy
from clearview.mocks.photometry import OLD, YOUNG, LuminosityFunction
from clearview.mocks.truth import POTENTIALS, Spiral, Truth, truth_of

__all__ = [
    "OLD", "POTENTIALS", "TRACERS", "YOUNG", "Dust", "DustField", "DustTruth", "DustyGalaxy", "LuminosityFunction",
    "Population", "Spiral", "Tracer", "Truth", "add_errors", "counted_efficiency", "dust_truth_of", "dusty_galaxy",
    "lumpy_galaxy", "mock_galaxy", "stir", "truth_of",
]  # fmt: skip
