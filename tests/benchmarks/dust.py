"""Accuracy of force, efficiency and corrected density on a dusty mock whose truth is known.

    python tests/benchmarks/dust.py [--json] [--seeds 3] [--stars 450000] [--form velocities] [--smoothing 0.15]

``--stars`` is before dust, which leaves two thirds. ln eps is compared with the truth smoothed over ``--smoothing``
kpc, at places uniform in the volume with |z| < 0.3 kpc within 3 kpc of the Sun, after the mean over d < 0.5 kpc is
made the same; its skill is 1 - rms^2 / variance against a constant, and against n_seen over a smooth disc.
``acc_formal_pull`` is the rms of the force's error over its stated error, along R, phi and z.
"""

import dataclasses
import time

import common
import numpy as np
from acceleration import errors, evaluation_points, formal_pull, map_config

from clearview.dynamics import EfficiencyConfig, PotentialConfig, fit_efficiency, fit_map
from clearview.mocks import dust_truth_of, dusty_galaxy, truth_of
from clearview.units import SUN


def arguments(parser):
    parser.add_argument("--stars", type=int, default=450_000)
    parser.add_argument("--form", default="velocities")
    parser.add_argument("--smoothing", type=float, default=0.15)


def places(rng, count, reach, height):
    x = rng.uniform([-reach, -reach, -height], [reach, reach, height], (3 * count, 3))
    return SUN.position + x[np.linalg.norm(x, axis=1) < reach][:count]


def smooth_disc_residual(stars, x, smoothing):
    """ln of seen stars near x over an exponential disc fitted to all of them: what one has without dynamics."""
    from scipy.spatial import KDTree

    def disc(p):
        return np.stack([np.ones(len(p)), np.hypot(p[:, 0], p[:, 1]) - SUN.R, np.abs(p[:, 2]), p[:, 2] ** 2], -1)

    tree = KDTree(stars)
    rng = np.random.default_rng(0)
    spread = places(rng, 4000, 3.0, 3.0)
    count = tree.query_ball_point(spread, 0.3, return_length=True)
    fit = np.linalg.lstsq(disc(spread), np.log(count + 0.5), rcond=None)[0]
    here = tree.query_ball_point(x, 2 * smoothing, return_length=True) / (2 * smoothing) ** 3 * 0.3**3
    return np.log(here + 0.5) - disc(x) @ fit


def run(seed, args):
    rng, seconds = np.random.default_rng(1000 + seed), {}

    def timed(name, call):
        began = time.monotonic()
        result = call()
        seconds[f"seconds_{name}"] = time.monotonic() - began
        return result

    stars = 15_000 if args.tiny else args.stars
    orbits = dict(mixing_time=200.0, sampling_time=200.0) if args.tiny else {}
    galaxy = timed("mock", lambda: dusty_galaxy(stars, seed, **orbits))
    seen, truth, dust = galaxy.observed, truth_of(galaxy.observed), dust_truth_of(galaxy.observed)
    assert truth is not None
    assert dust is not None
    density = timed("flows", lambda: fit_map(seen, dataclasses.replace(map_config(seed, args.tiny), potential=None)))
    solve = EfficiencyConfig(form=args.form, smoothing=args.smoothing)
    if args.tiny:
        solve = dataclasses.replace(solve, stars=5000, potential=PotentialConfig(pointwise=1200.0, degree=6))
    fit = timed("solve", lambda: fit_efficiency(density, seen, solve))
    assert fit is not None

    x = evaluation_points(rng, 4000)
    result = {f"acc_{key}": value for key, value in errors(fit.acceleration(x), truth, x).items()}
    result["acc_formal_pull"] = formal_pull(fit, truth, x)
    inner = np.linalg.norm(x - SUN.position, axis=1) < 3
    off = np.expm1(fit.log_n(x) + np.log(len(seen)) - np.log(dust.density(x)))[inner]
    result |= {"density_median": np.median(np.abs(off)), "density_bias": np.median(off)}

    near, plane = places(rng, 1000, 0.5, 0.5), places(rng, 4000, 3.0, 0.3)
    true, true_near = (np.log(dust.efficiency(p, smoothing=args.smoothing)) for p in (plane, near))

    def judge(name, got, got_near):
        anchored = got - got_near.mean() + true_near.mean() - true
        rms = np.sqrt(np.mean(anchored**2))
        skill = 1 - rms**2 / true.var()
        return {f"{name}rms_plane": rms, f"{name}bias": anchored.mean(), f"{name}skill": skill}

    result |= judge("ln_eps_", np.log(fit.efficiency(plane)), np.log(fit.efficiency(near)))
    result["ln_eps_rms_plane_not_anchored"] = np.sqrt(np.mean((np.log(fit.efficiency(plane)) - true) ** 2))
    naive = [smooth_disc_residual(seen.phase_space[:, :3], p, args.smoothing) for p in (plane, near)]
    result |= judge("disc_", *naive)
    result["ln_eps_skill_over_disc"] = 1 - (result["ln_eps_rms_plane"] / result["disc_rms_plane"]) ** 2
    return {**result, "true_spread": true.std(), "stars_seen": len(seen), **seconds}


if __name__ == "__main__":
    common.main(__doc__, run, add_arguments=arguments)
