"""Our map beside what is done today: binned Jeans equations and a parametric potential, right and wrong.

    python tests/benchmarks/baselines.py [--json] [--seeds 3] [--stars 400000] [--right MWPotential2014] [--wrong NAME]

The parametric family (Miyamoto-Nagai disc, bulge, NFW halo) holds the potential of the mock ``--right`` and not that of
``--wrong``. Errors are taken at 4,000 points uniform in the volume within 3.5 kpc of the Sun; those of the binned Jeans
equations at the fraction ``*_covered`` of them that its cells reach. Every seed is another mock.
"""

import dataclasses
import time

import common
import numpy as np
from acceleration import RADIUS, errors, evaluation_points

from clearview import mock_galaxy
from clearview.dynamics import MapConfig, PotentialConfig, binned_jeans, fit_map, parametric_potential
from clearview.flows import FitConfig, FlowConfig
from clearview.mocks import POTENTIALS, Truth


def arguments(parser):
    parser.add_argument("--stars", type=int, default=400_000)
    parser.add_argument("--right", choices=POTENTIALS, default="MWPotential2014")
    known = list(POTENTIALS)
    wrong = "flattened_halo" if "flattened_halo" in known else "heavier_disc"
    parser.add_argument("--wrong", choices=POTENTIALS, default=wrong)
    parser.add_argument("--family", default="disc_bulge_halo")


def run(seed, args):
    config = MapConfig(radius=RADIUS, seed=seed)
    if args.tiny:
        config = dataclasses.replace(
            config, positions=FlowConfig(2, 16), velocities=FlowConfig(2, 16),
            training=FitConfig(epochs=1, min_steps=0),
            potential=PotentialConfig(stars=4000, degree=6),
        )  # fmt: skip
    result = {}
    for case, potential in (("right", args.right), ("wrong", args.wrong)):
        stars = 20_000 if args.tiny else args.stars
        catalog = mock_galaxy(stars, seed=seed, potential=potential, cache=False)
        truth, x = Truth(potential), evaluation_points(np.random.default_rng(1000 + seed), 4000)

        def timed(name, call, case=case, x=x, truth=truth):
            began = time.monotonic()
            source = call()
            seconds = time.monotonic() - began
            a = np.asarray(source.acceleration(x))
            known = np.isfinite(a).all(1)
            result.update(errors(a[known], truth, x[known], f"{name}_{case}_"))
            result[f"{name}_{case}_covered"] = known.mean()
            result[f"seconds_{name}_{case}"] = seconds
            return source

        def binned(axisymmetric, catalog=catalog):
            return binned_jeans(catalog, axisymmetric=axisymmetric, radius=RADIUS, seed=seed)

        timed("ours", lambda catalog=catalog: fit_map(catalog, config))
        timed("jeans", lambda: binned(False))
        axisymmetric = timed("jeans_axi", lambda: binned(True))
        fit = timed("parametric", lambda jeans=axisymmetric: parametric_potential(jeans, args.family))
        result[f"parametric_{case}_misfit"] = fit.provenance["misfit"]
        layer = x[np.abs(x[:, 2]) < 1.5]  # forces agree where densities, their gradients, do not
        result[f"parametric_{case}_density_median"] = np.median(np.abs(fit.density(layer) / truth.density(layer) - 1))
    # The Jeans equations assume no family: what they reach on the first mock is their figure.
    return {f"{name}_median": result[f"{name}_right_median"] for name in ("jeans", "jeans_axi")} | result


if __name__ == "__main__":
    common.main(__doc__, run, add_arguments=arguments)
