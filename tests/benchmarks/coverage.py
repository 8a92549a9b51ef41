"""How often the truth lies within the stated intervals of acceleration and density, over many small mocks.

    python tests/benchmarks/coverage.py [--json] [--mocks 3] [--parts 8] [--stars 50000]

Each of ``--mocks`` galaxies is parted into ``--parts`` realisations of ``--stars`` stars that share none; each is
mapped with a short training. Intervals are Gaussian, per component along R, phi and z, at places uniform in the volume
within 3 kpc; those of the density at the places whose kernel lies in the ball. ``*_formal`` are the map's own spread.
The others have a systematic term, calibrated on one galaxy of another potential (``--calibration``), never on the
truth that they are judged by: in each region and component a fraction of |a| or of the density, added in quadrature,
so that 68% hold there; or, where the formal spread alone covers more, a factor on it below 1.

Regions: plane |z| < 0.5 < middle < 1.5 kpc < high. Points of one map are correlated: ``*_error`` is the standard error
from realisation to realisation. It cannot show a bias that all realisations share: see ``*_pull_mean``.
``*_width`` is the full 68% interval over |a| or the density, median.
"""

if __name__ != "__main__":  # numba asks for the package of this name, finds this file beside the script, and may go on
    raise ImportError("Expected the package coverage, got the benchmark of that name.")

import dataclasses
import tempfile
import time

import common
import jax
import numpy as np
from acceleration import RADIUS, cylindrical, evaluation_points, formal_spread, map_config

from clearview import fit_map, mock_galaxy
from clearview.catalogs import Catalog
from clearview.dynamics import mass_density, smooth
from clearview.dynamics.density import density_error, kernel_inside
from clearview.flows import FitConfig
from clearview.mocks import POTENTIALS, Truth
from clearview.units import SUN

REGIONS = {"plane": (0.0, 0.5), "middle": (0.5, 1.5), "high": (1.5, 4.0)}
COMPONENTS = ("R", "phi", "z")
SHORT = FitConfig(epochs=8, batch_size=256, learning_rate=4e-3, b2=0.99, average=0.02)


def arguments(parser):
    parser.add_argument("--stars", type=int, default=50_000, help="of one realisation")
    parser.add_argument("--mocks", type=int, default=3)
    parser.add_argument("--parts", type=int, default=8, help="realisations of one mock")
    parser.add_argument("--potential", choices=POTENTIALS, default="MWPotential2014")
    parser.add_argument("--calibration", choices=POTENTIALS, default="flattened_halo")
    parser.add_argument("--places", type=int, default=600)


class Ball(Truth):
    """The truth in the ball of the maps: where a kernel fits."""

    center, radius = SUN.position, RADIUS


def realisations(potential, seeds, x, args):
    """Errors, formal errors and scales at x of every realisation: {"acc": three of (M, N, 3), "density": (M, N, 1)}."""
    truth, axes = Ball(potential), cylindrical(x)
    whole = x[kernel_inside(truth, x)]
    true_a, true_rho = truth.acceleration(x), smooth(truth.density, whole)
    found = {"acc": [], "density": []}
    for seed in seeds:
        galaxy = mock_galaxy(args.parts * args.stars, seed=seed, potential=potential)
        for part in range(args.parts):
            began = time.monotonic()
            stars = galaxy.phase_space[part :: args.parts]
            config = map_config(100 * seed + part, args.tiny)
            if not args.tiny:
                config = dataclasses.replace(config, training=SHORT)
            fit = fit_map(Catalog.from_phase_space(stars[:, :3], stars[:, 3:]), config)
            off = np.einsum("nij,nj->ni", axes, fit.acceleration(x) - true_a)
            size = np.broadcast_to(np.linalg.norm(true_a, axis=1)[:, None], off.shape)
            found["acc"].append((off, formal_spread(fit, x), size))
            rho = mass_density(fit, whole)
            found["density"].append([a[:, None] for a in (rho - true_rho, density_error(fit, whole), true_rho)])
            told = ", ".join(
                f"{kind} {np.median(np.abs(rows[-1][0] / rows[-1][2])):.3f}" for kind, rows in found.items()
            )
            print(f"{potential} {seed}.{part}: {told}, {time.monotonic() - began:.0f} s", flush=True)
    return {kind: [np.stack(rows) for rows in zip(*parts, strict=True)] for kind, parts in found.items()}, whole


def term(off, sigma, size, level=0.6827):
    """(factor, fraction) so that that share of |off| is below sqrt((factor sigma)^2 + (fraction size)^2)."""
    formal = np.quantile(np.abs(off) / sigma, level)
    if formal <= 1:
        return formal, 0.0
    # Each place needs its own fraction; their quantile serves that share of them.
    needed = np.sqrt(np.maximum(off**2 - sigma**2, 0)) / size
    return 1.0, np.quantile(needed, level)


def regions(x):
    """{name: (N,) bool}."""
    height = np.abs(x[:, 2])
    return {name: (low <= height) & (height < high) for name, (low, high) in REGIONS.items()}


def judged(off, sigma, size, x, prefix, suffix):
    """Coverage, pulls and widths over all places, and coverage and pulls in each region."""
    pull = off / sigma
    result = {}
    for name, here in {"": np.ones(len(x), bool), **regions(x)}.items():
        key, p = prefix + (f"_{name}" if name else ""), pull[:, here]
        tell = {"coverage": np.abs(p) < 1, "coverage_95": np.abs(p) < 1.96}
        for what, inside in tell.items():
            shares = inside.mean((1, 2))
            result[f"{key}_{what}{suffix}"] = shares.mean()
            result[f"{key}_{what}{suffix}_error"] = shares.std(ddof=1) / np.sqrt(len(shares))
        result[f"{key}_width{suffix}"] = np.median(2 * sigma[:, here] / size[:, here])
        result[f"{key}_pull_rms{suffix}"] = np.sqrt(np.mean(p**2))
        for i, component in enumerate(COMPONENTS if pull.shape[2] == 3 else ("",)):
            end = f"_{component}" if component else ""
            means = p[..., i].mean(1)
            result[f"{key}_pull_mean{end}{suffix}"] = means.mean()
            result[f"{key}_pull_mean{end}{suffix}_error"] = means.std(ddof=1) / np.sqrt(len(means))
    return result


def run(seed, args):
    if args.calibration == args.potential:
        raise SystemExit("Expected the calibration on another potential, got the same; choose another.")
    if args.tiny:
        args.stars, args.parts, args.mocks, args.places = 5000, 2, 1, 100
    # Every map compiles the same programs; they are kept on disk between them.
    kept = tempfile.TemporaryDirectory(prefix="clearview-coverage-")
    jax.config.update("jax_compilation_cache_dir", kept.name)
    rng = np.random.default_rng(1000 + seed)
    x = SUN.position + 3 / 3.5 * (evaluation_points(rng, args.places) - SUN.position)
    known, whole = realisations(args.calibration, [9000 + seed], x, args)
    began = time.monotonic()
    found, _ = realisations(args.potential, range(args.mocks * seed, args.mocks * (seed + 1)), x, args)
    count = args.mocks * args.parts
    result = {"realisations": count, "seconds_each": (time.monotonic() - began) / count}
    for kind, places in (("acc", x), ("density", whole)):
        off, sigma, size = found[kind]
        wider = np.array(sigma)
        for name, here in regions(places).items():
            for i in range(off.shape[2]):
                factor, fraction = term(*(a[:, here, i] for a in known[kind]))
                wider[:, here, i] = np.hypot(factor * sigma[:, here, i], fraction * size[:, here, i])
                end = f"{name}_{COMPONENTS[i]}" if off.shape[2] == 3 else name
                result |= {f"{kind}_factor_{end}": factor, f"{kind}_fraction_{end}": fraction}
        result |= judged(off, wider, size, places, kind, "") | judged(off, sigma, size, places, kind, "_formal")
    return {**result, "peak_mb": common.peak_memory_mb()}


if __name__ == "__main__":
    common.main(__doc__, run, seeds=1, add_arguments=arguments)
