"""Our flows against flowjax and zuko on the same stars, an ensemble against its members, and what each flow costs.

    python tests/benchmarks/flows.py [--seeds 3] [--epochs 8] [--json]

The stars are those of the sample mock_100k (or ``--catalog PATH``: x, y, z, vx, vy, vz), positions through the soft
map of the ball, velocities in cylindrical directions, all standardised; a tenth is held out, the same for all. Each
library trains a masked autoregressive flow of 6 affine layers of 2 x 96 units by Adam, with the same batches, learning
rate and cosine schedule (found good for ours), in a process of its own; each starts from its own initial weights, and
ours averages its weights over a tenth of the steps, which the others do not offer. Time runs from the arrays to the
loss after each pass, building and compiling included, imports not. ``time_ratio_X`` is the time X takes for all its
passes over the time after which ours is at X's lowest validation loss, or 0 if it never is. Needs the extra ``bench``.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common
import numpy as np

LAYERS, WIDTH, DEPTH = 6, 96, 2


def stars(path: str | None, seed: int, few: bool) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation stars, (N, 6) float32, standardised."""
    import jax

    import clearview
    from clearview.flows.density import rotate, soft_ball
    from clearview.units import SUN

    catalog = clearview.read_catalog(path) if path else clearview.load_sample("mock_100k")
    x, v = np.split(catalog.to_galactocentric().phase_space, 2, axis=1)
    distance = np.linalg.norm(x - SUN.position, axis=1)
    radius = distance.max() * (1 + 1e-4)
    u = np.asarray(jax.vmap(soft_ball)(((x - SUN.position) / radius).astype(np.float32))[0])
    data = np.concatenate([u, np.asarray(rotate(x, v))], axis=1)
    # Other splits than those on which the plan and the spread of our initial weights were chosen (0, 1 and 2).
    data = np.random.default_rng(100 + seed).permutation(((data - data.mean(0)) / data.std(0)).astype(np.float32))
    data = data[:6000] if few else data
    return data[len(data) // 10 :], data[: len(data) // 10]


def ours(train, held, plan, seed):
    """Seconds and loss after each pass, and the number of parameters."""
    import equinox as eqx
    import jax
    from jax import random

    from clearview.flows import MAF, FitConfig, FlowConfig, fit
    from clearview.flows.networks import generator

    # `fit` draws the stars that it holds out: they are put where it will find ours.
    data = np.empty((len(train) + len(held), 6), np.float32)
    order = generator(random.key(seed), 0).permutation(len(data))
    data[order[: len(held)]], data[order[len(held) :]] = held, train
    key, curve = random.key(seed), []
    began = time.perf_counter()

    def told(progress):
        if progress.step and progress.step % (progress.total // plan["epochs"]) == 0:
            curve.append((time.perf_counter() - began, progress.validation_loss))

    flow = MAF(6, config=FlowConfig(LAYERS, WIDTH, DEPTH, spread=1.0), key=key)
    config = FitConfig(
        plan["epochs"], 0, plan["batch_size"], plan["learning_rate"], len(held) / len(data), average=0.1, b2=plan["b2"]
    )
    fit(flow, data, config, key=random.key(seed), on_progress=told)
    return curve, sum(a.size for a in jax.tree.leaves(eqx.filter(flow, eqx.is_inexact_array)))


def flowjax(train, held, plan, seed):
    """As `ours`, by flowjax's own loop, which tells no times: only the end is known."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import optax
    from flowjax.bijections import Affine
    from flowjax.distributions import Normal
    from flowjax.flows import masked_autoregressive_flow
    from flowjax.train import fit_to_data
    from jax import random

    key = random.key(seed)  # the first takes a while
    began = time.perf_counter()
    flow = masked_autoregressive_flow(
        key, base_dist=Normal(jnp.zeros(6)), transformer=Affine(), flow_layers=LAYERS, nn_width=WIDTH,
        nn_depth=DEPTH, nn_activation=jax.nn.gelu, invert=True,
    )  # fmt: skip
    steps = len(train) // plan["batch_size"] * plan["epochs"]
    share = 2 * plan["batch_size"] / len(train)  # it must hold some out; as few as it can
    adam = optax.adam(optax.cosine_decay_schedule(plan["learning_rate"], steps), b2=plan["b2"])
    flow, _ = fit_to_data(
        random.key(seed), flow, train, optimizer=adam,
        max_epochs=plan["epochs"], max_patience=plan["epochs"], batch_size=plan["batch_size"], val_prop=share,
        return_best=False, show_progress=False,
    )  # fmt: skip
    jax.block_until_ready(jax.tree.leaves(eqx.filter(flow, eqx.is_array)))
    seconds = time.perf_counter() - began
    loss = -float(eqx.filter_jit(jax.vmap(flow.log_prob))(held).mean())
    return [(seconds, loss)], sum(a.size for a in jax.tree.leaves(eqx.filter(flow, eqx.is_inexact_array)))


def zuko(train, held, plan, seed):
    """As `ours`, by a plain PyTorch loop."""
    import torch
    from zuko.flows import MAF

    torch.manual_seed(seed)
    began, curve = time.perf_counter(), []
    flow = MAF(features=6, transforms=LAYERS, hidden_features=[WIDTH] * DEPTH, activation=torch.nn.GELU)
    train, held = torch.as_tensor(train), torch.as_tensor(held)
    size = plan["batch_size"]
    per_epoch = len(train) // size
    adam = torch.optim.Adam(flow.parameters(), lr=plan["learning_rate"], betas=(0.9, plan["b2"]))
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, per_epoch * plan["epochs"])
    for _ in range(plan["epochs"]):
        order = torch.randperm(len(train))
        for first in range(0, per_epoch * size, size):
            loss = -flow().log_prob(train[order[first : first + size]]).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            falling.step()
        with torch.no_grad():
            loss = -float(flow().log_prob(held).mean())
        curve.append((time.perf_counter() - began, loss))
    return curve, sum(p.numel() for p in flow.parameters())


LIBRARIES = {"ours": ours, "flowjax": flowjax, "zuko": zuko}


def ensemble(train, plan, seed, members: int) -> dict[str, float]:
    """An ensemble trained together against its members one by one, each compiled as a new training is."""
    from jax import random

    from clearview.flows import MAF, FitConfig, FlowConfig, fit, fit_ensemble

    sizes, key = FlowConfig(LAYERS, WIDTH, DEPTH, spread=1.0), random.key(seed)
    config = FitConfig(plan["epochs"], 0, plan["batch_size"], plan["learning_rate"], b2=plan["b2"])

    def build(key):
        return MAF(6, config=sizes, key=key)

    began = time.perf_counter()
    together = fit_ensemble(build, train, config, key=key, members=members)
    between = time.perf_counter()
    each = []
    for i in range(members):
        each.append(fit(build(random.fold_in(key, i)), train, config, key=key).history.validation.min())
    ended = time.perf_counter()
    return {
        "ensemble_seconds": between - began,
        "ensemble_time_ratio": (ended - between) / (between - began),
        "ensemble_nll_difference": float(together.state.best_loss.mean() - np.mean(each)),
    }


def costs(train, seed) -> dict[str, float]:
    """Microseconds a star for each kind of flow of the same size: a training step, ln p, its gradient, a draw."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    from jax import random

    from clearview.flows import MAF, Coupling, FlowConfig, ScoreModel

    batch, key, found = jnp.asarray(train[:4096]), random.key(seed), {}

    def micro(call) -> float:
        jax.block_until_ready(call())
        began, n = time.perf_counter(), 0
        while n < 3 or time.perf_counter() - began < 1.0:
            jax.block_until_ready(call())
            n += 1
        return 1e6 * (time.perf_counter() - began) / n / len(batch)

    models = {
        f"{kind.__name__.lower()}_{transform}": kind(6, config=FlowConfig(LAYERS, WIDTH, DEPTH, transform), key=key)
        for kind in (MAF, Coupling)
        for transform in ("affine", "spline")
    }
    models["score_sliced"] = ScoreModel(np.zeros(6), np.ones(6), key=key)
    step = eqx.filter_jit(eqx.filter_value_and_grad(lambda model, x: model.loss(key, x)))
    for name, model in models.items():
        params = sum(a.size for a in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
        row = {"parameters": params, "step_us": micro(lambda m=model: step(m, batch))}
        row["gradient_us"] = micro(lambda m=model: m.score(batch))
        if hasattr(model, "sample"):
            row["log_prob_us"] = micro(lambda m=model: m.log_prob(batch))
            row["sample_us"] = micro(lambda m=model: m.sample(key, (len(batch),)))
        row["step_ns_per_parameter"] = 1e3 * row["step_us"] / params
        print(f"  {name:16s}" + "  ".join(f"{k} {v:,.4g}" for k, v in row.items()), flush=True)
        found |= {f"{name}_{k}": v for k, v in row.items()}
    return found


def run(seed: int, arguments) -> dict[str, float]:
    """All of one seed."""
    train, held = stars(arguments.catalog, seed, arguments.tiny)
    plan = {
        "epochs": 2 if arguments.tiny else arguments.epochs, "batch_size": arguments.batch_size,
        "learning_rate": arguments.learning_rate, "b2": 0.99,
    }  # fmt: skip
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "stars.npz"
        np.savez(table, train=train, held=held)
        for name in LIBRARIES:
            call = [sys.executable, __file__, "--library", name, str(table), str(seed), json.dumps(plan)]
            done = subprocess.run(call, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"Expected {name} to train, got: {done.stderr.strip()[-600:]}; is the extra bench installed?")
            found[name] = json.loads(done.stdout.strip().splitlines()[-1])
            told = ", ".join(f"{s:.1f} s {loss:.4f}" for s, loss in found[name]["curve"])
            print(f"  {name} ({found[name]['parameters']:,} parameters): {told}", flush=True)
    row = {}
    for name, of in found.items():
        seconds, losses = zip(*of["curve"], strict=True)
        row |= {f"nll_{name}": min(losses), f"seconds_{name}": seconds[-1]}
    for peer in ("flowjax", "zuko"):
        reached = [s for s, loss in found["ours"]["curve"] if loss <= row[f"nll_{peer}"]]
        row[f"time_ratio_{peer}"] = row[f"seconds_{peer}"] / reached[0] if reached else 0.0
    if not arguments.peers_only:
        row |= ensemble(train, {**plan, "epochs": min(4, plan["epochs"])}, seed, 2 if arguments.tiny else 8)
        row |= costs(train, seed)
    return row


def arguments(parser: argparse.ArgumentParser) -> None:
    """What can be told on the command line."""
    parser.add_argument("--catalog", help="a star catalogue with x, y, z, vx, vy, vz, or the columns of the sky")
    parser.add_argument("--epochs", type=int, default=8, help="passes over the stars of every library")
    parser.add_argument("--batch-size", type=int, default=256, help="stars a step of every library")
    parser.add_argument("--learning-rate", type=float, default=4e-3, help="of every library")
    parser.add_argument("--peers-only", action="store_true", help="without the ensemble and the costs")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--library"]:
        name, table, seed, plan = sys.argv[2:]
        arrays = np.load(table)
        curve, parameters = LIBRARIES[name](arrays["train"], arrays["held"], json.loads(plan), 100 + int(seed))
        print(json.dumps({"curve": curve, "parameters": int(parameters)}))
    else:
        common.main(__doc__, run, add_arguments=arguments)
