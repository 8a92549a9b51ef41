"""Where the stars' velocities can tell the force from the dust, and where they cannot.

At a place the Boltzmann equation of observed stars reads v . d ln f/dx - v . d ln eps/dx + a . d ln p/dv = 0 for every
velocity v: a linear regression whose columns are d ln p/dv, for the acceleration a, and -v, for the gradient of the
efficiency eps. For velocities that are normal the columns are collinear, whatever their dispersions: only
grad Phi/sigma^2 - grad ln eps is constrained. What parts them are velocities that are not normal, as those of a disc
beside a halo. (That the
force is smooth and curl-free one place does not know: this is the cautious view.)
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import random

from clearview.dynamics.fields import provenance_of, slice_points
from clearview.field import Axis, Quantity, make_field
from clearview.units import ACCELERATION_UNIT

LIMIT = 5.0
"""Error in the worst direction, against what it would be without dust or against that in the best direction, from
which on the acceleration counts as not constrained. Measured at stars: 1.3 to 2.9 on the shipped map of disc and halo,
where the median error of the pointwise a is 1.7 % without and 3.4 % with dust free; 21 to 90 on flows that learnt a
Maxwellian from 20,000 stars, with errors of 10 % and 50 to 80 %; 8 to 19 from 2,000 stars, since noise pretends to be
structure."""

SHARE = 1.0
"""Expected error over |a| from which on the acceleration counts as not constrained, too: it may as well be none."""

INDEPENDENT = 2.5
"""So many independent readings of the equation the draws at one place are worth, however many there are: the error of
a learnt gradient is a smooth function of velocity. Measured with dust free: 2.5 on the shipped map, 1.9 and 8 on two
flows of a Maxwellian. Without dust the shipped map has 11, so that its errors are half of those given here."""


class Identifiability(NamedTuple):
    """How well the acceleration is constrained at N places.

    Attributes:
        condition: (N,) condition number of the design, each unknown (a, grad ln eps) seen in its own natural units;
            infinite where they are collinear.
        inflation: (N,) by how much the free efficiency raises the error of a in the direction where it does so most;
            1 without dust.
        condition_a: (N,) condition number of the columns of a alone: its worst error over its best by direction.
        error: (N,) expected error of |a|, (km/s)^2/kpc, from the scatter of the equation at the place; a factor of two
            is to be allowed for. Infinite where the columns are collinear.
        constrained: (N,) whether inflation and condition_a are both below `LIMIT`, and the error is below `SHARE` of
            the |a| that the equation gives at the place.
    """

    condition: np.ndarray
    inflation: np.ndarray
    condition_a: np.ndarray
    error: np.ndarray
    constrained: np.ndarray


def identifiability(source, x, *, key=None, dust: bool = True, draws: int = 1000) -> Identifiability:
    """Conditioning of the Boltzmann equation at each place, over draws of p(v | x).

    Args:
        source: a `MapFit`, or a density with ``log_f(x, v)`` and ``sample_velocity(key, x, draws)``.
        x: (N, 3) places, kpc.
        key: of the draws, the same for all places; by default that of seed 0.
        dust: whether the gradient of the selection efficiency is unknown, too.
        draws: velocities per place.

    Raises:
        ValueError: if the source has no trained density, x is not (N, 3), or there are fewer than 50 draws.
    """
    density, x = trained_density(source), np.asarray(x, np.float32)
    if x.ndim != 2 or x.shape[1] != 3:
        raise ValueError(f"Expected places of shape (N, 3), got {x.shape}; give x, y, z in kpc.")
    if draws < 50:
        raise ValueError(f"Expected at least 50 draws a place, got {draws}; take more.")
    key = random.key(0) if key is None else key
    rows = [_conditioning(*readings(density, place, key, draws), dust) for place in x]
    condition, inflation, condition_a, error, size = np.array(rows, float).reshape(-1, 5).T
    constrained = (inflation < LIMIT) & (condition_a < LIMIT) & (error < SHARE * size)
    return Identifiability(condition, inflation, condition_a, error, constrained)


def identifiability_field(
    source, axes: Sequence[Axis], fixed: Mapping[str, float], *, key=None, dust: bool = True, draws: int = 500,
) -> xr.Dataset:  # fmt: skip
    """`identifiability` on a slice; some 20 ms a place.

    Args:
        source: a `MapFit`, or a density as for `identifiability`.
        axes: axes among x, y, z or, with ``phi`` fixed, R and z [kpc].
        fixed: the other coordinates [kpc], or ``phi`` [deg].
        key, dust, draws: as for `identifiability`.

    Returns:
        condition, inflation, condition_a [none], error [(km/s)^2/kpc], NaN outside the source's ball, and constrained
        (boolean; outside the ball true, since nothing is shown there). Hatch with
        ``clearview.figures.hatch(~field.constrained)``.

    Raises:
        ValueError: as `identifiability`; if a coordinate is neither an axis nor fixed, or has another unit.
    """
    trained_density(source)
    points = slice_points(axes, fixed)
    inside = within(source, points)
    found = identifiability(source, points[inside], key=key, dust=dust, draws=draws)
    words = {
        "condition": Quantity(None, "", "condition number"),
        "inflation": Quantity(None, "", "error of a, dust free over dust known"),
        "condition_a": Quantity(None, "", "error of a, worst over best direction"),
        "error": Quantity(None, ACCELERATION_UNIT, "expected error of |a|"),
        "constrained": Quantity(None, "", "acceleration constrained"),
    }
    values = {}
    for name, words_of in words.items():
        part = getattr(found, name)
        whole = np.full(inside.shape, True if part.dtype == bool else np.nan, part.dtype)
        whole[inside] = part
        values[name] = words_of._replace(values=whole if part.dtype == bool else whole.astype(np.float32))
    told = {
        "limit": LIMIT,
        "share": SHARE,
        "dust": int(dust),
        "draws": draws,
        "places_not_constrained": int((~found.constrained).sum()),
    }
    return make_field(axes, values, provenance_of(source, fixed) | told)


def trained_density(source):
    """The f(x, v) of a source: its ``density``, or itself.

    Raises:
        ValueError: if it has none, or a fit that is not trained yet.
    """
    if not getattr(source, "has_density", True):
        raise ValueError(f"Expected a trained density, this fit stopped before ({source.message}) Resume it first.")
    density = source if hasattr(source, "sample_velocity") else getattr(source, "density", None)
    if not (hasattr(density, "sample_velocity") and hasattr(density, "log_f")):
        raise ValueError(f"Expected a map or a density of phase space, got {type(source).__name__}; pass a fitted map.")
    return density


def within(source, x) -> np.ndarray:
    """(...) whether x (..., 3) [kpc] lies in the source's ball; all true if it has none."""
    radius = getattr(source, "radius", None)
    if radius is None:
        return np.ones(x.shape[:-1], bool)
    return ((x - np.asarray(source.center)) ** 2).sum(-1) < radius**2


def readings(density, place, key, draws: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """v (M, 3) [km/s], v . d ln f/dx (M,) [km/s/kpc] and d ln f/dv (M, 3) [s/km] at a place (3,), where finite."""
    v, drift, g = (np.asarray(a, float) for a in _readings(density, jnp.asarray(place, jnp.float32), key, draws))
    fine = np.isfinite(drift) & np.isfinite(g).all(1)
    return v[fine], drift[fine], g[fine]


@eqx.filter_jit
def _readings(density, x, key, draws):
    v = density.sample_velocity(key, x, draws)
    d_x, g = jax.vmap(jax.grad(density.log_f, argnums=(0, 1)), (None, 0))(x, v)
    return v, (v * d_x).sum(-1), g


def _conditioning(v, drift, g, dust: bool) -> tuple[float, float, float, float, float]:
    """condition, inflation, condition_a, error and |a| of one place."""
    if len(v) < 50:  # a place where the density is broken
        return np.inf, np.inf, np.inf, np.nan, np.nan
    # A few wild gradients of a learnt density would pretend to be information; collinear columns stay so.
    size = ((g / np.median(np.abs(g), axis=0)) ** 2).sum(1)
    weight = 1 / (1 + size / np.median(size))
    root = np.sqrt(weight / weight.sum())[:, None]
    of_a = np.linalg.svd(root * g, compute_uv=False)
    condition_a = of_a[0] / max(of_a[-1], 1e-300)
    condition, inflation, design = condition_a, 1.0, g
    if dust:
        # Canonical correlations of the two blocks: free of units, and the singular values are sqrt(1 -+ rho).
        bases = [np.linalg.qr(root * block)[0] for block in (g, v)]
        rho = float(np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)[0])
        left = max(1 - rho, 1e-12)
        condition, inflation = np.sqrt((1 + rho) / left), 1 / np.sqrt(left * (1 + rho))
        design = np.concatenate([g, -v], 1)
    # The pointwise solution with Cauchy weights, for the scatter that it leaves.
    w = np.ones(len(v))
    for _ in range(4):
        s = np.sqrt(w)
        best = np.linalg.lstsq(s[:, None] * design, -s * drift, rcond=None)[0]
        r = drift + design @ best
        scatter = np.median(np.abs(r))
        w = 1 / (1 + (r / max(scatter, 1e-12)) ** 2)
    force = float(np.linalg.norm(best[:3]))
    if condition > 1e5:  # collinear up to rounding
        return condition, inflation, condition_a, np.inf, force
    covariance = np.linalg.inv((root * design).T @ (root * design))[:3, :3]
    return condition, inflation, condition_a, scatter * np.sqrt(np.trace(covariance) / INDEPENDENT), force
