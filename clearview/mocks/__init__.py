"""Mock catalogues with a known answer. galpy provides the truth and is imported only here."""

from clearview.mocks.galaxy import Population, mock_galaxy
from clearview.mocks.truth import POTENTIALS, Truth, truth_of

__all__ = ["POTENTIALS", "Population", "Truth", "mock_galaxy", "truth_of"]
