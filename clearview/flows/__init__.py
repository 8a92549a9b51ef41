"""Normalising flows that are smooth enough to be differentiated, and the one way to train anything here."""

from clearview.flows.checkpoint import CheckpointError, described, load, save
from clearview.flows.classify import Classifier, ClassifierConfig
from clearview.flows.columns import (
    ColumnConfig,
    ColumnFit,
    column_field,
    estimate_seconds,
    fit_columns,
    load_columns,
    save_columns,
)
from clearview.flows.continuous import CNF, ContinuousConfig
from clearview.flows.density import AbstractDensity, AbstractFlow, Ball, PhaseSpace, Standardised
from clearview.flows.discrete import IAF, MAF, Coupling, FlowConfig
from clearview.flows.ensemble import Ensemble, fit_ensemble
from clearview.flows.fit import Fit, FitConfig, Progress, State, fit, optimise, told_of
from clearview.flows.score import ScoreConfig, ScoreModel

__all__ = [
    "CNF",
    "IAF",
    "MAF",
    "AbstractDensity",
    "AbstractFlow",
    "Ball",
    "CheckpointError",
    "Classifier",
    "ClassifierConfig",
    "ColumnConfig",
    "ColumnFit",
    "ContinuousConfig",
    "Coupling",
    "Ensemble",
    "Fit",
    "FitConfig",
    "FlowConfig",
    "PhaseSpace",
    "Progress",
    "ScoreConfig",
    "ScoreModel",
    "Standardised",
    "State",
    "column_field",
    "described",
    "estimate_seconds",
    "fit",
    "fit_columns",
    "fit_ensemble",
    "load",
    "load_columns",
    "optimise",
    "save",
    "save_columns",
    "told_of",
]
