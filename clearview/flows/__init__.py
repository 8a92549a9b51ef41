"""Normalising flows that are smooth enough to be differentiated, and the one way to train anything here."""

from clearview.flows.checkpoint import CheckpointError, load, save
from clearview.flows.density import AbstractDensity, Ball, PhaseSpace, Standardised
from clearview.flows.fit import Fit, FitConfig, Progress, fit, optimise
from clearview.flows.maf import MAF, MAFConfig

__all__ = [
    "MAF",
    "AbstractDensity",
    "Ball",
    "CheckpointError",
    "Fit",
    "FitConfig",
    "MAFConfig",
    "PhaseSpace",
    "Progress",
    "Standardised",
    "fit",
    "load",
    "optimise",
    "save",
]
