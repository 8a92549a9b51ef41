"""Stars drawn from a flow that has learnt star particles, judged by classifiers against particles that it has not.

    python tests/benchmarks/upsampling.py [--json] [--seeds 3] [--stars 200000] [--catalog PARTICLES] [--write 1000000]

Particles are those of a mock galaxy within 4 kpc of the Sun, every seed another mock; or those of ``--catalog``, with
columns x_kpc, y_kpc, z_kpc, vx_kms, vy_kms, vz_kms and mass_Msun, of which half is learnt, every seed another half.
As many stars are drawn as particles are held out, and each pair is told apart by trees and a network together, each
star judged by those that have not seen it. 0.5 is the same.

    auc_flow            stars of the flow against particles held out; jsd_flow in bits
    auc_flow_small      the same of a flow that learnt a quarter of the particles
    auc_kernel          stars of an adaptive kernel against them
    auc_transfer        particles held out against the flow's stars, by what tells the flow's from the kernel's
                        (GalaxyFlow has 0.508); auc_transfer_kernel against the kernel's stars (0.950)
    auc_power_control   particles held out against others whose velocities are spread out by 5 %; auc_null not so
    near_flow           share of the flow's stars nearer to a particle learnt from than 99 % of those held out are: 0.01
                        where it repeats none; near_kernel of the kernel's
    acc_pull            with --map: difference of the accelerations of two maps, of particles held out and of as many
                        stars of the flow, over the error that both state (median); acc_difference in %
    train_seconds, stars_per_second, write_mb    memory of the process after writing ``--write`` stars to Parquet
"""

import dataclasses
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common
import numpy as np
import pandas as pd

from clearview import MapConfig, fit_map, mock_galaxy
from clearview.catalogs import Catalog, Particles
from clearview.flows import ContinuousConfig, FitConfig
from clearview.generation import (
    KernelSampler,
    UpsampleConfig,
    default_config,
    fit_upsampler,
    load_upsampler,
    local,
    memorisation,
    three_sample_test,
    two_sample_test,
)


def arguments(parser):
    parser.add_argument("--stars", type=int, default=200_000, help="particles learnt from")
    parser.add_argument("--held-out", type=int, default=50_000, help="particles to judge by")
    parser.add_argument("--catalog", help="Parquet file of a simulation's star particles")
    parser.add_argument("--steps", type=int, default=0, help="of the training, if not the default")
    parser.add_argument("--write", type=int, default=1_000_000, help="stars that are written to Parquet")
    parser.add_argument("--map", action="store_true", help="compare accelerations, too: minutes more")


def particles(seed, args, count, held):
    """Particles to learn from, two lots to judge by, and how to learn."""
    if not args.catalog:
        stars = mock_galaxy(count + 2 * held, seed)
        return split(stars, np.arange(len(stars)), count, held), default_config(stars)
    table = pd.read_parquet(args.catalog)
    x, v = (table[list(names)].to_numpy() for names in (("x_kpc", "y_kpc", "z_kpc"), ("vx_kms", "vy_kms", "vz_kms")))
    centred = Particles.of(x, v, table["mass_Msun"].to_numpy(), units=("kpc", "km/s", "Msun")).centred()
    stars = Catalog.from_phase_space(centred.x, centred.v, columns={"mass": centred.mass})
    count, held = len(stars) // 2, len(stars) // 4
    order = np.random.default_rng(seed).permutation(len(stars))
    # Particles of all masses count as one here, for those that judge have no weights.
    return split(stars, order, count, held), UpsampleConfig()


def split(stars, order, *sizes):
    parts = np.split(order, np.cumsum([*sizes, sizes[-1]]))[:3]
    masks = [np.isin(np.arange(len(stars)), part) for part in parts]
    return [stars.take(mask) for mask in masks]


def spread(stars, factor):
    """The same stars with larger velocity dispersions about the mean motion along R, phi and z."""
    points = local(stars.phase_space)
    middle = points[:, 3:].mean(0)
    points[:, 3:] = middle + factor * (points[:, 3:] - middle)
    return points


def catalog_of(points):
    return Catalog.from_phase_space(points[:, :3], points[:, 3:6])


def written(flow, count):
    """Seconds of sampling, and the memory of a process that writes so many stars, MB."""
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "flow.clearview", Path(folder) / "stars.parquet"
        flow.save(path)
        told = subprocess.run(
            [sys.executable, __file__, "--only-write", str(path), str(out), str(count)], check=True,
            capture_output=True, text=True,
        ).stdout.split()  # fmt: skip
        return float(told[-2]), float(told[-1])


def only_write(path, out, count):
    flow, count = load_upsampler(path), int(count)
    flow.sample(2**16)  # compiles
    began = time.monotonic()
    assert flow.write_parquet(out, count) == count
    print(time.monotonic() - began, peak_memory_mb())


def peak_memory_mb():
    """Of this process alone: what `common.peak_memory_mb` tells of a child begins with its parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return common.peak_memory_mb()
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1024


def run(seed, args):
    count, held, write = (4000, 1000, 5000) if args.tiny else (args.stars, args.held_out, args.write)
    (learnt, judge, other), config = particles(seed, args, count, held)
    config = dataclasses.replace(config, seed=seed)
    if args.tiny:
        training = FitConfig(epochs=1, min_steps=100, batch_size=256)
        config = dataclasses.replace(config, flow=ContinuousConfig(32, 2), training=training)
    elif args.steps:
        config = dataclasses.replace(config, training=dataclasses.replace(config.training, min_steps=args.steps))
    began = time.monotonic()
    flow = fit_upsampler(learnt, config)
    result = {"train_seconds": time.monotonic() - began}
    stars = catalog_of(flow.sample(len(judge), seed + 1000))
    kernel = KernelSampler.of(learnt, radius=config.radius, center=config.center)
    clouds = catalog_of(kernel.sample(len(judge), seed + 2000))
    how = {"seed": seed, "folds": 2 if args.tiny else 4}
    tested = {"flow": (stars, judge), "kernel": (clouds, judge), "null": (other, judge)}
    for name, pair in tested.items():
        found = two_sample_test(*pair, **how)
        result |= {f"auc_{name}": found.auc, f"jsd_{name}": found.jsd, f"auc_{name}_error": found.auc_error}
        print(name, found.message, flush=True)
    found = two_sample_test(spread(other, 1.05), local(judge.phase_space), **how)
    result |= {"auc_power_control": found.auc, "auc_power_control_error": found.auc_error}
    print("power control", found.message, flush=True)
    transfer = three_sample_test(stars, clouds, judge, **how)
    print(transfer.message, flush=True)
    result |= {"auc_transfer": transfer.first.auc, "auc_transfer_kernel": transfer.second.auc}
    result |= {f"near_{n}": memorisation(learnt, judge, s).near for n, s in (("flow", stars), ("kernel", clouds))}
    if not args.catalog and not args.tiny:
        few = learnt.take(np.arange(len(learnt)) < count // 4)
        small = catalog_of(fit_upsampler(few, config).sample(len(judge), seed + 3000))
        result["auc_flow_small"] = two_sample_test(small, judge, **how).auc
    seconds, memory = written(flow, write)
    result |= {"stars_per_second": write / seconds, "write_mb": memory}
    return {**result, **(maps(judge, stars, seed) if args.map else {})}


def maps(judge, stars, seed):
    """Accelerations of maps of both at the same places, against the errors that they state."""
    fits = [fit_map(s, MapConfig(radius=4.0, seed=seed)) for s in (judge, stars)]
    p = judge.phase_space[:, :3]
    center = np.asarray(fits[0].center)
    x = p[np.linalg.norm(p - center, axis=1) < 3.0][:500]
    a, b = (fit.acceleration(x) for fit in fits)
    error = np.sqrt(sum(np.einsum("nii->n", fit.acceleration_covariance(x)) for fit in fits))
    off = np.linalg.norm(a - b, axis=1)
    return {"acc_pull": np.median(off / error), "acc_difference": 100 * np.median(off / np.linalg.norm(a, axis=1))}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--only-write"]:
        only_write(*sys.argv[2:])
    else:
        common.main(__doc__, run, add_arguments=arguments)
