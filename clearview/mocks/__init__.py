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
from clearview.mocks.dwarf import CORE, CUSP, PLUMMER, TRACER, DwarfTruth, dwarf_truth_of, mock_dwarf
from clearview.mocks.errors import add_errors
from clearview.mocks.galaxy import Population, mock_galaxy
from clearview.mocks.isochrones import StellarPopulation
from clearview.mocks.patch import (
    DWARF,
    FIELD,
    GLOBULAR_CLUSTER,
    ORIGINS,
    Component,
    DustHoles,
    Satellite,
    ScanStripes,
    mock_patch,
)
from clearview.mocks.photometry import OLD, YOUNG, LuminosityFunction
from clearview.mocks.shower import PARTICLES, Particle, mock_showers
from clearview.mocks.streams import Stream, inject, inject_members, random_stream
from clearview.mocks.truth import POTENTIALS, Spiral, Truth, truth_of

__all__ = [
    "CORE", "CUSP", "DWARF", "FIELD", "GLOBULAR_CLUSTER", "OLD", "ORIGINS", "PARTICLES", "PLUMMER", "POTENTIALS",
    "TRACER", "TRACERS", "YOUNG", "Component", "Dust", "DustField", "DustHoles", "DustTruth", "DustyGalaxy",
    "DwarfTruth", "LuminosityFunction", "Particle", "Population", "Satellite", "ScanStripes", "Spiral",
    "StellarPopulation", "Stream", "Tracer", "Truth", "add_errors", "counted_efficiency", "dust_truth_of",
    "dusty_galaxy", "dwarf_truth_of", "inject", "inject_members", "lumpy_galaxy", "mock_dwarf", "mock_galaxy",
    "mock_patch", "mock_showers", "random_stream", "stir", "truth_of",
]  # fmt: skip
