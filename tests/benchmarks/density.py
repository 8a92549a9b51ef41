"""Accuracy of the mass density behind a map, and of the local dark matter, on a mock whose truth is known.

    python tests/benchmarks/density.py [--json] [--seeds 3] [--stars 400000] [--potential MWPotential2014]
    python tests/benchmarks/density.py --catalog PATH     x, y, z [kpc], vx, vy, vz [km/s] of --potential
    python tests/benchmarks/density.py --map PATH         a map trained before; --seeds only draws other places

``density_`` is the kernel-smoothed Gauss law against the truth smoothed with the same kernel, ``laplacian_`` the
Laplacian of the potential against the truth itself, both at the same places uniform in the volume with |z| < 1.5 kpc
whose kernel lies in the ball; the bins 1 to 3 are |z| < 0.3 < 0.75 < 1.5 kpc. ``*_pull`` is the error over the formal
one, root mean square.

``local_dm_`` is the dark matter fitted at 1 < |z| < 1.8 kpc, with the true disc and bulge times 0.9 and times 1.1 as
baryons known to 10%: the worse of both. Its stated error holds what the fit of the potential leaves open.
``local_dm_midplane_`` is total less baryons in the plane itself.
"""

import sys
import time
from copy import copy
from itertools import pairwise

import common
import numpy as np
from acceleration import budget, map_config

from clearview import fit_map, load_map, mock_galaxy, read_catalog
from clearview.dynamics import BaryonModel, local_dark_matter, mass_density, smooth
from clearview.dynamics.darkmatter import AnyComponent
from clearview.dynamics.density import PER_PC3, Method, density_error, kernel_inside
from clearview.mocks import Truth
from clearview.units import SUN

EDGES = (0.0, 0.3, 0.75, 1.5)
SIGMA = 0.1


def arguments(parser):
    budget(parser)
    parser.add_argument("--map", help="a map of --potential instead of training one")
    parser.add_argument("--places", type=int, default=3000)


def layer_points(rng, source, count):
    """(count, 3) uniform in the volume with |z| < 1.5 kpc, the kernel in the ball."""
    found = np.empty((0, 3))
    while len(found) < count:
        x = rng.uniform(-1, 1, (4 * count, 3)) * [source.radius, source.radius, EDGES[-1]]
        x += [*source.center[:2], 0.0]
        found = np.concatenate([found, x[kernel_inside(source, x)]])
    return found[:count]


def figures(rho, error, true, height, prefix):
    """Errors of densities over all places and in each bin of |z|."""
    off = rho / true - 1
    bins = [off[(low <= height) & (height < high)] for low, high in pairwise(EDGES)]
    medians = [np.median(np.abs(b)) for b in bins]
    result = {f"{prefix}median": np.median(np.abs(off)), f"{prefix}p90": np.quantile(np.abs(off), 0.9)}
    result |= {f"{prefix}bin{i}": m for i, m in enumerate(medians, 1)}
    result |= {f"{prefix}bias{i}": np.median(b) for i, b in enumerate(bins, 1)}
    result |= {f"{prefix}worst_bin": max(medians), f"{prefix}pull": np.sqrt(np.mean(((rho - true) / error) ** 2))}
    return result


def dark_matter(fit, truth):
    """The local dark matter with the baryons one sigma too light and too heavy: the worse of both."""
    baryons, halo = copy(truth), copy(truth)
    baryons.components, halo.components = truth.components[:-1], truth.components[-1:]  # bulge, disc, halo
    rows = []
    for factor in (1 - SIGMA, 1 + SIGMA):
        prior = BaryonModel((AnyComponent("disc and bulge", baryons.density, SIGMA, factor),))
        found = local_dark_matter(fit, prior)
        plane = np.array([[SUN.R, 0.0, 0.0]])
        true, true_plane = (PER_PC3 * smooth(halo.density, x).mean() for x in (found.places, plane))
        rows.append({
            "error": abs(found.density / true - 1),
            "pull": abs(found.density - true) / found.error,
            "stated": found.error / true,
            "midplane_error": abs(found.midplane / true_plane - 1),
            "midplane_pull": abs(found.midplane - true_plane) / found.midplane_error,
            "at_plane_error": abs(found.at_plane / true_plane - 1),
        })  # fmt: skip
    return {f"local_dm_{key}": max(row[key] for row in rows) for key in rows[0]}


def run(seed, args):
    began, result, name = time.monotonic(), {}, args.potential
    if args.map:
        fit = load_map(args.map)
        name = (fit.source.get("mock") or {}).get("potential", name)
    else:
        if args.catalog:
            catalog = read_catalog(args.catalog).to_galactocentric()
        else:
            stars = 20_000 if args.tiny else args.stars
            catalog = mock_galaxy(stars, seed=seed, potential=name, cache=False)
        result["seconds_mock"] = time.monotonic() - began
        began = time.monotonic()
        fit = fit_map(catalog, map_config(seed, args.tiny))
        result["seconds_map"] = time.monotonic() - began
    if not fit.has_potential:
        sys.exit(f"Expected a finished map with a potential, got: {fit.message}")
    truth = Truth(name)
    x = layer_points(np.random.default_rng(1000 + seed), fit, 200 if args.tiny else args.places)
    known: dict[Method, np.ndarray] = {"gauss": smooth(truth.density, x), "laplacian": truth.density(x)}
    for method, true in known.items():
        began = time.monotonic()
        rho = mass_density(fit, x, method)
        result[f"seconds_{method}"] = time.monotonic() - began
        error = density_error(fit, x, method)
        result |= figures(rho, error, true, np.abs(x[:, 2]), "density_" if method == "gauss" else "laplacian_")
    began = time.monotonic()
    result |= dark_matter(fit, truth)
    return {**result, "seconds_dark_matter": time.monotonic() - began, "peak_mb": common.peak_memory_mb()}


if __name__ == "__main__":
    common.main(__doc__, run, add_arguments=arguments)
