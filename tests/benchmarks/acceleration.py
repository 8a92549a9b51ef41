"""Accuracy of the acceleration map on a mock whose truth is known, and the seconds of each stage.

    python tests/benchmarks/acceleration.py [--json] [--seeds 3] [--stars 400000] [--potential MWPotential2014]
    python tests/benchmarks/acceleration.py --catalog PATH     x, y, z [kpc], vx, vy, vz [km/s] of --potential

Errors are taken at 4,000 points uniform in the volume within 3.5 kpc of the Sun and at 4,000 stars of another mock,
which the fit has not seen. Every seed is another mock and another start of the networks.
"""

import dataclasses
import time

import common
import jax
import numpy as np

from clearview import mock_galaxy, read_catalog
from clearview.dynamics import (
    MapConfig,
    PotentialConfig,
    PotentialNet,
    fit_map,
    fit_potential,
    score_gradients,
    solve_acceleration,
)
from clearview.flows import FitConfig, FlowConfig
from clearview.mocks import POTENTIALS, Truth
from clearview.units import SUN

RADIUS = 4.0


def arguments(parser):
    parser.add_argument("--stars", type=int, default=400_000)
    parser.add_argument("--potential", choices=POTENTIALS, default="MWPotential2014")
    parser.add_argument("--catalog", help="other stars, in the internal frame or with its units told in the file")
    parser.add_argument("--pointwise", type=int, default=400, help="points for the pointwise solution")


def evaluation_points(rng, count):
    """(count, 3) uniform in the volume within 3.5 kpc."""
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return SUN.position + 3.5 * direction * rng.uniform(size=(count, 1)) ** (1 / 3)


def errors(a, truth, x, prefix=""):
    """Fractional errors of accelerations a (N, 3) at x."""
    true = truth.acceleration(x)
    size = np.linalg.norm(true, axis=1)
    total = np.linalg.norm(a - true, axis=1) / size
    R = np.hypot(x[:, 0], x[:, 1])
    a_R, true_R = ((v[:, 0] * x[:, 0] + v[:, 1] * x[:, 1]) / R for v in (a, true))
    a_phi = (a[:, 0] * x[:, 1] - a[:, 1] * x[:, 0]) / R
    layer = (np.abs(x[:, 2]) > 0.3) & (np.abs(x[:, 2]) < 1.5)
    return {
        f"{prefix}median": np.median(total),
        f"{prefix}p90": np.quantile(total, 0.9),
        f"{prefix}az_median": np.median(np.abs(a[layer, 2] / true[layer, 2] - 1)),
        f"{prefix}aphi_median": np.median(np.abs(a_phi) / size),
        f"{prefix}ar_bias": np.median(a_R / true_R - 1),
    }


def run(seed, args):
    truth = Truth(args.potential)
    rng = np.random.default_rng(1000 + seed)
    seconds = {}

    def timed(name, call):
        began = time.monotonic()
        result = call()
        seconds[f"seconds_{name}"] = time.monotonic() - began
        return result

    stars = 20_000 if args.tiny else args.stars
    config = MapConfig(radius=RADIUS, seed=seed)
    if args.tiny:
        config = dataclasses.replace(
            config, positions=FlowConfig(2, 16), velocities=FlowConfig(2, 16),
            training=FitConfig(epochs=1, min_steps=0),
            potential=PotentialConfig(stars=4000, epochs=1, min_steps=0),
        )  # fmt: skip
    if args.catalog:
        catalog = read_catalog(args.catalog).to_galactocentric()
    else:
        # Three mocks of three seeds each have their own stars, and the star-weighted points are yet others.
        catalog = timed("mock", lambda: mock_galaxy(stars, seed=seed, potential=args.potential, cache=False))
    ends = {}

    def note(p):
        ends["potential" if p.stage.startswith("potential") else p.stage] = time.monotonic()

    began = time.monotonic()
    fit = fit_map(catalog, config, on_progress=note)
    total = time.monotonic() - began
    for name in ("positions", "velocities", "gradients", "potential"):
        seconds[f"seconds_{name}"] = ends[name] - began
        began = ends[name]

    x = evaluation_points(rng, 4000)
    others = mock_galaxy(4000 if not args.tiny else 500, seed=10_000 + seed, potential=args.potential)
    near = np.linalg.norm(others.phase_space[:, :3] - SUN.position, axis=1) < 3.5
    weighted = others.phase_space[near, :3].astype(float)
    result = {**errors(fit.acceleration(x), truth, x), **errors(fit.acceleration(weighted), truth, weighted, "star_")}

    few = x[: 20 if args.tiny else args.pointwise]
    draws = 200 if args.tiny else 2000
    pointwise = timed("pointwise", lambda: solve_acceleration(fit.density, few, key=jax.random.key(seed), draws=draws))
    result["pointwise_median"] = errors(pointwise, truth, few)["median"]
    result["pointwise_points"] = len(few)

    def plain_mse(edge):
        """Every star trusted alike: the mean square that a few wild gradients rule."""
        chosen = rng.permutation(len(catalog))[: config.potential.stars]
        places, v = np.split(catalog.phase_space[chosen], 2, axis=1)
        gradients = score_gradients(fit.density, places, v)
        net = PotentialNet(config.center, RADIUS, height=float(fit.net.height), key=jax.random.key(seed))
        plain = dataclasses.replace(config.potential, robust=False, edge=edge)
        net = fit_potential(net, gradients, plain, key=jax.random.key(seed)).model
        return errors(np.asarray(jax.vmap(net.acceleration)(x.astype(np.float32))), truth, x)["median"]

    result["plain_mse_median"] = timed("plain_mse", lambda: plain_mse(1.0))
    result["plain_mse_without_edge_median"] = plain_mse(config.potential.edge)
    return {**result, **seconds, "seconds_total": total}


if __name__ == "__main__":
    common.main(__doc__, run, add_arguments=arguments)
