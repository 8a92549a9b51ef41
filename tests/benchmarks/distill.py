"""Students that draw in one pass what takes their teachers a step for each dimension: how fast, and how true.

    python tests/benchmarks/distill.py [--json] [--seeds 3] [--particle electron]
    python tests/benchmarks/distill.py --catalog TRAIN.hdf5 --test TEST.hdf5 [--geometry BINNING.xml]    real showers

Mock stars in 6-D, and showers of 504 voxels (CaloGAN's geometry), which WITHOUT --catalog ARE MOCKS BY FORMULAS, not a
simulation. Each student is as wide and deep as its teacher. Keys of showers begin with shower_, of stars with stars_:

    ..._student_per_s_B, ..._teacher_per_s_B, ..._passes_per_s_B    draws a second at batches of B = 1, 100 and 10,000
                      (showers in slices of 200): by the student, by the teacher as this package runs it, coordinate by
                      coordinate, and by the teacher as it was published (CaloFlow), its whole network once for each of
                      d dimensions. Of the last, 10,000 showers are timed on one slice: all would take ten minutes
    ..._speedup_over_d_B       student over whole passes, over d: at equal networks about 1 is the bound
    ..._speedup_lean_B         student over this package's teacher: what a student gains here
    ..._auc_truth_teacher, ..._auc_truth_student, ..._auc_student_teacher, and ..._jsd_...    by two_sample_test, of
                      showers also normalised_..., whose voxels are parts of their layers
    ..._kl            mean of ln(student / teacher) over draws of the student, exact, in nats (stars)
    shower_student_distance, shower_teacher_distance    median over layer energies, centroids, widths and sparsities of
                      the distance to the truth in its standard deviations, its mean error ..._error, and what chance
                      alone gives, shower_chance; ..._distance_E and so on: the mean over layers of each kind
    speedup_over_d, speedup_lean    the lower of stars and showers at 10,000
    auc_loss          the highest of AUC(truth, student) - AUC(truth, teacher)
"""

import time
from functools import partial

import common
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import random

from clearview.calorimeter import CALOGAN, Geometry, Layer, read_geometry, read_showers
from clearview.flows import MAF, FitConfig, FlowConfig, Standardised, fit
from clearview.flows.density import over
from clearview.generation import (
    DistillConfig,
    ShowerConfig,
    distill,
    feature_distances,
    fit_showers,
    two_sample_test,
    voxel_table,
)
from clearview.generation.distill import core
from clearview.generation.showers import conditions, to_energies
from clearview.mocks import mock_galaxy, mock_showers

BATCHES = (1, 100, 10_000)
SLICE = 2 * 10**5
"""Numbers that are drawn at once: more are slower, since they leave the processor's caches."""

SMALL = Geometry("small", tuple(
    Layer(i, tuple(np.linspace(-60, 60, a + 1)), tuple(np.linspace(-60, 60, b + 1)), thickness=t)
    for i, (a, b, t) in enumerate(((1, 6, 4.7), (3, 3, 18.1), (2, 1, 2.2)))
))  # fmt: skip


def by_passes(flow, z, condition):
    """``flow.from_base`` of a masked flow as published: the whole network once for each dimension."""
    bare = eqx.tree_at(lambda f: core(f).layers, flow, [])
    for layer in reversed(core(flow).layers):
        y = z[::-1]

        def again(_, x, layer=layer, y=y):
            return layer.transform.inverse(y, layer.parameters(x, condition))

        z = jax.lax.fori_loop(0, layer.dim, again, jnp.zeros_like(y))
    return bare.from_base(z, condition)


@eqx.filter_jit
def draw(flow, key, count, condition=None):
    return flow.sample(key, () if condition is not None else (count,), condition)


@eqx.filter_jit
def draw_by_passes(flow, key, count, condition=None):
    return over(partial(by_passes, flow), random.normal(key, (count, flow.dim)), condition)


def rate(draw, flow, count, condition, budget=1.5):
    """Draws a second, the median of three or as many as the budget allows."""
    size = min(count, 200 if flow.dim * count > SLICE else count)
    given = None if condition is None else jnp.asarray(condition[np.arange(size) % len(condition)])

    def all_of_them(seed):
        parts = [draw(flow, random.fold_in(random.key(seed), i), size, given) for i in range(count // size)]
        jax.block_until_ready(parts)

    draw(flow, random.key(0), size, given).block_until_ready()
    times = []
    while len(times) < 3 or (sum(times) < budget and len(times) < 200):
        begun = time.perf_counter()
        all_of_them(len(times))
        times.append(time.perf_counter() - begun)
    return count / np.median(times)


def speeds(model, name, condition=None, *, batches=BATCHES):
    """Keys of one teacher and student."""
    result, d = {}, model.dim
    for count in batches:
        student, teacher = (rate(draw, flow, count, condition) for flow in (model.student, model.teacher))
        passes = rate(draw_by_passes, model.teacher, count if count * d < 10 * SLICE else 200, condition)
        result |= {
            f"{name}_student_per_s_{count}": student, f"{name}_teacher_per_s_{count}": teacher,
            f"{name}_passes_per_s_{count}": passes, f"{name}_speedup_over_d_{count}": student / passes / d,
            f"{name}_speedup_lean_{count}": student / teacher,
        }  # fmt: skip
    return result


def told_apart(name, truth, teacher, student, seed, folds):
    """AUC and JSD of three samples, two by two."""
    result = {}
    for pair, a, b in (("truth_teacher", truth, teacher), ("truth_student", truth, student),
                       ("student_teacher", student, teacher)):  # fmt: skip
        found = two_sample_test(a, b, seed=seed, folds=folds)
        result |= {f"{name}_auc_{pair}": found.auc, f"{name}_auc_error_{pair}": found.auc_error,
                   f"{name}_jsd_{pair}": found.jsd}  # fmt: skip
    return result


def stars(seed, args):
    few = args.tiny
    n = 2000 if few else 40_000

    def table(n, seed):
        mock = mock_galaxy(n, seed=seed)
        return np.stack([np.asarray(mock[k], np.float32) for k in ("x", "y", "z", "vx", "vy", "vz")], axis=1)

    x, test = table(n, 2 * seed), table(500 if few else 8000, 2 * seed + 1)
    size = FlowConfig(1, 16, 1, "spline", bins=4, spread=1.0) if few else FlowConfig(4, 64, 2, "spline", spread=1.0)
    steps = dict(epochs=1, min_steps=20 if few else args.steps or 1500, batch_size=512)
    training = FitConfig(learning_rate=4e-3, b2=0.99, average=0.02, **steps)
    flow = Standardised(MAF(6, None, size, key=random.key(seed)), x.mean(0), x.std(0))
    teacher = fit(flow, x, training, key=random.key(seed)).model
    model = distill(teacher, x, DistillConfig(training=training, seed=seed)).model
    print(f"seed {seed}: stars learnt", flush=True)
    # Of the same noise they would be pairs of near twins, which an out-of-fold classifier puts below 0.5.
    keys = {"teacher": random.key(9), "student": random.key(10)}
    drawn = {k: np.asarray(getattr(model, k).sample(key, (len(test),))) for k, key in keys.items()}
    kl = model.student.log_prob(drawn["student"]) - model.log_prob(drawn["student"])
    result = speeds(model, "stars", batches=(100,) if few else BATCHES)
    result |= told_apart("stars", test, *drawn.values(), seed, 2 if few else 4) | {"stars_kl": float(kl.mean())}
    print(f"seed {seed}: " + ", ".join(f"{k} {v:.4g}" for k, v in result.items()), flush=True)
    return result


def showers(seed, args):
    few = args.tiny
    geometry = SMALL if few else CALOGAN if args.geometry is None else read_geometry(args.geometry)
    if args.catalog:
        train, test = read_showers(args.catalog, geometry), read_showers(args.test, geometry)
        if train.digest == test.digest:
            raise ValueError(
                "Expected showers to judge by that are not learnt from, got the same; pass another --test."
            )
        test = test[(test.energies >= train.energies.min()) & (test.energies <= train.energies.max())]
    else:
        train = mock_showers(1500 if few else 20_000, args.particle, geometry=geometry, seed=2 * seed)
        test = mock_showers(300 if few else 2000, args.particle, geometry=geometry, energies=(2e3, 9.9e4),
                            seed=2 * seed + 1)  # fmt: skip
    train = train[train.voxels.sum(1) > 0]
    test = test[np.flatnonzero(test.voxels.sum(1) > 0)[:2000]]

    def training(steps):
        return FitConfig(epochs=1, min_steps=steps, batch_size=256, learning_rate=2e-3, b2=0.99, average=0.02,
                         validation=0.05)  # fmt: skip

    if few:
        sizes = FlowConfig(1, 16, 1, "spline", bins=4, spread=1.0), FlowConfig(1, 24, 1, "spline", bins=4, spread=1.0)
        steps = 20, 20, 20
    else:
        sizes = ShowerConfig().layers, FlowConfig(3, 96, 1, "spline", bins=6, reach=5.0, spread=1.0)
        steps = [args.steps or n for n in (1500, 900, 900)]
    one, two, three = map(training, steps)
    config = ShowerConfig(*sizes, one, two, DistillConfig(training=three, seed=seed), seed=seed)
    fitted = fit_showers(train, config)
    print(f"seed {seed}: {fitted.message}", flush=True)

    model = fitted.voxels
    layers = np.asarray(fitted.layers.sample(random.key(1), condition=np.log10(test.energies)[:, None] - 4.5), float)
    deposited = to_energies(layers, test.energies.astype(float), fitted.threshold)
    given = conditions(test.energies, deposited, fitted.threshold)
    result = speeds(model, "shower", given, batches=(100,) if few else BATCHES)
    print(f"seed {seed}: " + ", ".join(f"{k} {v:.4g}" for k, v in result.items()), flush=True)
    made = {by: fitted.sample(test.energies, seed=i, by=by) for i, by in enumerate(("teacher", "student"))}
    for name, normalised in (("shower", False), ("shower_normalised", True)):
        tables = [voxel_table(s, normalised=normalised) for s in (test, *made.values())]
        result |= told_apart(name, *tables, seed, 2 if few else 4)
    for name, some in made.items():
        table = feature_distances(test, some)
        result |= {
            f"shower_{name}_distance": table["distance"].median(),
            f"shower_{name}_distance_error": table["error"].mean(),
            "shower_chance": table["chance"].median(),
        }
        kinds = table.groupby(table.index.str.split("_").str[0])["distance"].mean()
        result |= {f"shower_{name}_distance_{kind}": value for kind, value in kinds.items()}
        print(f"seed {seed}, {name}:\n{table.round(3).to_string()}", flush=True)
    return result


def run(seed, args):
    result = (stars(seed, args) if "stars" in args.cases else {}) | (
        showers(seed, args) if "showers" in args.cases else {}
    )
    count = 100 if args.tiny else BATCHES[-1]
    lowest = {k: min(v for name, v in result.items() if name.endswith(f"_{k}_{count}"))
              for k in ("speedup_over_d", "speedup_lean")}  # fmt: skip
    losses = [result[k] - result[k.replace("student", "teacher")] for k in result if k.endswith("auc_truth_student")]
    return lowest | {"auc_loss": max(losses)} | result


def arguments(parser):
    parser.add_argument("--cases", type=lambda s: s.split(","), default=["stars", "showers"])
    parser.add_argument("--particle", default="electron", help="of the mock showers: electron, photon or pion")
    parser.add_argument("--steps", type=int, help="of each training, in place of 900 to 1500")
    parser.add_argument("--catalog", help="HDF5 file of showers to learn from, CaloChallenge or CaloGAN")
    parser.add_argument("--test", default="", help="HDF5 file of others to compare with")
    parser.add_argument("--geometry", help="binning XML of these; without it, CaloGAN's")


if __name__ == "__main__":
    common.main(__doc__, run, add_arguments=arguments)
