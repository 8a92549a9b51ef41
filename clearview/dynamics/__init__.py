"""From a learnt phase-space density to accelerations and the potential, by the collisionless Boltzmann equation."""

from clearview.dynamics.baselines import FAMILIES, JeansFit, ParametricFit, binned_jeans, parametric_potential
from clearview.dynamics.budget import ErrorBudget, error_budget, load_budget, save_budget
from clearview.dynamics.cube import cut, density_cube
from clearview.dynamics.darkmatter import (
    MCKEE_2015,
    AnyComponent,
    BaryonModel,
    Component,
    LocalDarkMatter,
    dark_matter_field,
    local_dark_matter,
    thin_disc_limit,
)
from clearview.dynamics.density import density_error, density_field, mass_density, smooth
from clearview.dynamics.dustmaps import (
    DustEfficiency,
    SightLines,
    dust_free,
    efficiency_from_dust,
    from_galactic,
    read_sightlines,
    to_galactic,
)
from clearview.dynamics.dusty import estimate_dusty, fit_dusty, load_fit, save_fit
from clearview.dynamics.efficiency import EfficiencyConfig, EfficiencyFit, efficiency_field, fit_efficiency
from clearview.dynamics.equilibrium import (
    Check,
    Functions,
    asymmetry_field,
    bump_functions,
    moment_check,
    residual_field,
    star_asymmetry,
)
from clearview.dynamics.extrapolation import Simex, refit, simex, simex_map
from clearview.dynamics.fields import acceleration_field, phase_space_field, slice_points
from clearview.dynamics.identifiability import Identifiability, identifiability, identifiability_field
from clearview.dynamics.maps import MapConfig, MapFit, estimate_seconds, fit_map, load_map, save_map
from clearview.dynamics.pointwise import solve_acceleration
from clearview.dynamics.potential import Gradients, fit_potential, score_gradients
from clearview.dynamics.profiles import (
    ProfileFit,
    circular_velocity,
    enclosed_mass,
    fit_profile,
    mond_acceleration,
    surface_density,
    vertical_force,
)
from clearview.dynamics.references import (
    PUBLISHED,
    along_axes,
    published,
    pulsar_pulls,
    read_reference,
)
from clearview.dynamics.series import PotentialConfig, PotentialSeries, formal_members
from clearview.halos import NFW, Burkert, Einasto, GeneralisedNFW, Soliton

__all__ = [
    "FAMILIES",
    "MCKEE_2015",
    "NFW",
    "PUBLISHED",
    "AnyComponent",
    "BaryonModel",
    "Burkert",
    "Check",
    "Component",
    "DustEfficiency",
    "EfficiencyConfig",
    "EfficiencyFit",
    "Einasto",
    "ErrorBudget",
    "Functions",
    "GeneralisedNFW",
    "Gradients",
    "Identifiability",
    "JeansFit",
    "LocalDarkMatter",
    "MapConfig",
    "MapFit",
    "ParametricFit",
    "PotentialConfig",
    "PotentialSeries",
    "ProfileFit",
    "SightLines",
    "Simex",
    "Soliton",
    "acceleration_field",
    "along_axes",
    "asymmetry_field",
    "binned_jeans",
    "bump_functions",
    "circular_velocity",
    "cut",
    "dark_matter_field",
    "density_cube",
    "density_error",
    "density_field",
    "dust_free",
    "efficiency_field",
    "efficiency_from_dust",
    "enclosed_mass",
    "error_budget",
    "estimate_dusty",
    "estimate_seconds",
    "fit_dusty",
    "fit_efficiency",
    "fit_map",
    "fit_potential",
    "fit_profile",
    "formal_members",
    "from_galactic",
    "identifiability",
    "identifiability_field",
    "load_budget",
    "load_fit",
    "load_map",
    "local_dark_matter",
    "mass_density",
    "moment_check",
    "mond_acceleration",
    "parametric_potential",
    "phase_space_field",
    "published",
    "pulsar_pulls",
    "read_reference",
    "read_sightlines",
    "refit",
    "residual_field",
    "save_budget",
    "save_fit",
    "save_map",
    "score_gradients",
    "simex",
    "simex_map",
    "slice_points",
    "smooth",
    "solve_acceleration",
    "star_asymmetry",
    "surface_density",
    "thin_disc_limit",
    "to_galactic",
    "vertical_force",
]
