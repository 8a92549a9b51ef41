"""From a learnt phase-space density to accelerations and the potential, by the collisionless Boltzmann equation."""

from clearview.dynamics.fields import acceleration_field, phase_space_field
from clearview.dynamics.maps import MapConfig, MapFit, fit_map, load_map, save_map
from clearview.dynamics.pointwise import solve_acceleration
from clearview.dynamics.potential import (
    Gradients,
    PotentialConfig,
    PotentialNet,
    fit_potential,
    potential_round,
    score_gradients,
)

__all__ = [
    "Gradients",
    "MapConfig",
    "MapFit",
    "PotentialConfig",
    "PotentialNet",
    "acceleration_field",
    "fit_map",
    "fit_potential",
    "load_map",
    "phase_space_field",
    "potential_round",
    "save_map",
    "score_gradients",
    "solve_acceleration",
]
