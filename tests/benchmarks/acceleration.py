"""Accuracy of the acceleration map on mocks whose truth is known, and the seconds of each stage.

    python tests/benchmarks/acceleration.py [--json] [--seeds 3] [--stars 400000] [--cases clean,lumpy]
    python tests/benchmarks/acceleration.py --catalog PATH     x, y, z [kpc], vx, vy, vz [km/s] of --potential

Errors are taken at 4,000 points uniform in the volume within 3.5 kpc of the Sun and, with ``star_``, at 4,000 stars of
another mock, which the fit has not seen. Every seed is another mock and another start of the networks. The cases:

    clean       --stars of --potential, measured exactly (or --catalog): keys without a prefix
    heavier, flattened    the same in two other potentials
    errors      as clean, with the errors of Gaia's parallaxes, proper motions and radial velocities; ``errors_simex_``
                with their bias extrapolated away
    lumpy       153,000 stars with clumps and a rotating spiral, out of equilibrium at rest
"""

import dataclasses
import time

import common
import jax
import jax.numpy as jnp
import numpy as np

from clearview import mock_galaxy, read_catalog
from clearview.dynamics import (
    MapConfig,
    PotentialConfig,
    fit_map,
    fit_potential,
    score_gradients,
    simex_map,
    solve_acceleration,
)
from clearview.flows import FitConfig, FlowConfig
from clearview.mocks import POTENTIALS, Truth, add_errors, lumpy_galaxy, truth_of
from clearview.units import SUN

RADIUS = 4.0
CASES = ("clean", "heavier", "flattened", "errors", "lumpy")


def arguments(parser):
    budget(parser)
    parser.add_argument("--cases", type=lambda s: s.split(","), help=f"among {','.join(CASES)}; default all")
    parser.add_argument("--symmetry", type=lambda s: s.split(","), default=(), help="assumed: north-south,axisymmetric")
    parser.add_argument("--pointwise", type=int, default=400, help="points for the pointwise solution")


def budget(parser):
    """What this benchmark shares with that of the density."""
    parser.add_argument("--stars", type=int, default=400_000)
    parser.add_argument("--potential", choices=POTENTIALS, default="MWPotential2014")
    parser.add_argument("--catalog", help="other stars, in the internal frame or with its units told in the file")


def map_config(seed, tiny):
    """The defaults, or a map in seconds."""
    config = MapConfig(radius=RADIUS, seed=seed)
    if not tiny:
        return config
    return dataclasses.replace(
        config, positions=FlowConfig(2, 16), velocities=FlowConfig(2, 16),
        training=FitConfig(epochs=1, min_steps=0), potential=PotentialConfig(stars=4000, degree=6),
    )  # fmt: skip


def evaluation_points(rng, count):
    """(count, 3) uniform in the volume within 3.5 kpc."""
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return SUN.position + 3.5 * direction * rng.uniform(size=(count, 1)) ** (1 / 3)


def cylindrical(x):
    """(N, 3, 3) unit vectors along R, phi and z at x (N, 3)."""
    R, zero = np.hypot(x[:, 0], x[:, 1]), np.zeros(len(x))
    c, s = x[:, 0] / R, x[:, 1] / R
    return np.stack([[c, s, zero], [s, -c, zero], [zero, zero, zero + 1]]).transpose(2, 0, 1)


def errors(a, truth, x, prefix=""):
    """Fractional errors of accelerations a (N, 3) at x."""
    true = truth.acceleration(x)
    size = np.linalg.norm(true, axis=1)
    total = np.linalg.norm(a - true, axis=1) / size
    along, along_true = (np.einsum("nij,nj->in", cylindrical(x), v) for v in (a, true))
    layer = (np.abs(x[:, 2]) > 0.3) & (np.abs(x[:, 2]) < 1.5)
    return {
        f"{prefix}median": np.median(total),
        f"{prefix}p90": np.quantile(total, 0.9),
        f"{prefix}az_median": np.median(np.abs(a[layer, 2] / true[layer, 2] - 1)),
        f"{prefix}aphi_median": np.median(np.abs(along[1] - along_true[1]) / size),
        f"{prefix}ar_bias": np.median(along[0] / along_true[0] - 1),
    }


def formal_spread(fit, x):
    """(N, 3) standard errors along R, phi and z that the map's own spread gives at x, (km/s)^2/kpc."""

    @jax.jit
    def at(p, axes):
        return jnp.linalg.norm(axes @ fit.series.functions(p, 1).T @ fit.series.spread, axis=-1)

    rows = (jnp.asarray(a, jnp.float32) for a in (x, cylindrical(x)))
    return np.asarray(jax.lax.map(lambda row: at(*row), tuple(rows), batch_size=1024), float)


def formal_pull(fit, truth, x):
    """rms of the force's error over its stated error, along R, phi and z."""
    off = np.einsum("nij,nj->ni", cylindrical(x), fit.acceleration(x) - truth.acceleration(x))
    return np.sqrt(np.mean((off / formal_spread(fit, x)) ** 2))


def stars_of(case, seed, args):
    """The mock of a case, as the fit sees it."""
    stars = 20_000 if args.tiny else args.stars
    if case == "lumpy":
        if args.tiny:
            return lumpy_galaxy(5000, seed, mixing_time=100.0, growing_time=100.0, holding_time=100.0, cache=False)
        return lumpy_galaxy(153_000, seed, cache=False)
    if case == "errors":
        # Noisy parallaxes carry stars across the edge of the ball: a quarter of the larger ball is beyond it.
        larger = mock_galaxy(round(1.5 * stars), seed=seed, potential=args.potential, radius=4.5, cache=False)
        seen = add_errors(larger, seed).to_galactocentric()
        inside = np.linalg.norm(seen.phase_space[:, :3] - SUN.position, axis=1) < RADIUS
        return seen.take(np.cumsum(inside) <= stars)
    potential = {"heavier": "heavier_disc", "flattened": "flattened_halo"}.get(case, args.potential)
    return mock_galaxy(stars, seed=seed, potential=potential, cache=False)


def fitted(catalog, config, truth, x, prefix):
    """The map, its figures and the seconds of its stages."""
    ends, began = {}, time.monotonic()
    start = began

    def note(p):
        ends[p.stage] = time.monotonic()

    fit = fit_map(catalog, config, on_progress=note)
    result = errors(np.asarray(fit.acceleration(x)), truth, x, prefix)
    result[f"{prefix}formal_pull"] = formal_pull(fit, truth, x)
    for name in ("positions", "velocities", "gradients", "potential"):
        result[f"{prefix}seconds_{name}"] = ends[name] - began
        began = ends[name]
    return fit, {**result, f"{prefix}seconds_total": began - start}


def run(seed, args):
    cases = args.cases or (["clean"] if args.catalog else CASES)
    if unknown := set(cases) - set(CASES):
        raise SystemExit(f"Expected cases among {', '.join(CASES)}, got {', '.join(sorted(unknown))}.")
    config, result = map_config(seed, args.tiny), {}
    assumed = dataclasses.replace(config.potential, symmetry=args.symmetry)
    config = dataclasses.replace(config, potential=assumed)
    for case in cases:
        rng, began = np.random.default_rng(1000 + seed), time.monotonic()
        if args.catalog and case == "clean":
            catalog, truth = read_catalog(args.catalog).to_galactocentric(), Truth(args.potential)
        else:
            # Three mocks of three seeds each have their own stars, and the star-weighted points are yet others.
            catalog = stars_of(case, seed, args)
            truth = truth_of(catalog)
            assert truth is not None
        prefix = "" if case == "clean" else f"{case}_"
        mocked, x = time.monotonic(), evaluation_points(rng, 4000)
        fit, figures = fitted(catalog, config, truth, x, prefix)
        result |= {**figures, f"{prefix}stars": fit.stars, f"{prefix}seconds_mock": mocked - began}
        if case == "clean":
            result |= clean_only(fit, catalog, truth, x, rng, seed, args)
        if case == "errors":
            began_simex = time.monotonic()
            mended = simex_map(fit, catalog)
            result |= errors(mended.acceleration(x), truth, x, "errors_simex_")
            result["errors_simex_formal_pull"] = formal_pull(mended, truth, x)
            result["seconds_simex"] = time.monotonic() - began_simex
        result[f"{prefix}peak_mb"] = common.peak_memory_mb()  # of the process so far
        told = f"{prefix}median {result[f'{prefix}median']:.4f}, {time.monotonic() - began:.0f} s"
        print(f"seed {seed}, {case}: {told}, peak so far {result[f'{prefix}peak_mb']:.0f} MB", flush=True)
        del catalog, fit
    return result


def clean_only(fit, catalog, truth, x, rng, seed, args):
    """At the places of stars, and two other ways to the force from the same density."""
    others = mock_galaxy(4000 if not args.tiny else 500, seed=10_000 + seed, potential=args.potential)
    near = np.linalg.norm(others.phase_space[:, :3] - SUN.position, axis=1) < 3.5
    weighted = others.phase_space[near, :3].astype(float)
    result = errors(fit.acceleration(weighted), truth, weighted, "star_")

    began = time.monotonic()
    few = x[: 20 if args.tiny else args.pointwise]
    draws = 200 if args.tiny else 2000
    pointwise = solve_acceleration(fit.density, few, key=jax.random.key(seed), draws=draws)
    result |= {"pointwise_median": errors(pointwise, truth, few)["median"], "pointwise_points": len(few)}
    result["seconds_pointwise"] = time.monotonic() - began

    # The plain mean square over all stars alike, which the few wild gradients at the ball's edge rule.
    began = time.monotonic()
    chosen = rng.permutation(len(catalog))[: fit.config.potential.stars]
    gradients = score_gradients(fit.density, *np.split(catalog.phase_space[chosen], 2, axis=1))
    assert gradients is not None
    plain = dataclasses.replace(fit.config.potential, pointwise=1e8, outlier=1e9, edge=1.0)
    series = fit_potential(fit.series, gradients, plain)
    a = dataclasses.replace(fit, series=series).acceleration(x)
    result["plain_mse_median"] = errors(a, truth, x)["median"]
    return {**result, "seconds_plain_mse": time.monotonic() - began}


if __name__ == "__main__":
    common.main(__doc__, run, add_arguments=arguments)
