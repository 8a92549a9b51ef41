"""Training: one loop that can be watched, cancelled within a fraction of a second, and resumed bit for bit."""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jax import lax, random
from jaxtyping import PRNGKeyArray

from clearview.flows.density import AbstractDensity

HISTORY = ["stage", "step", "train", "validation"]


@dataclass(frozen=True)
class FitConfig:
    """How to train.

    Attributes:
        epochs: passes over the training stars, at least.
        min_steps: there are as many more passes as give this many steps: few stars need more of them.
        batch_size: stars per step.
        learning_rate: of Adam at the start; it falls to zero along a cosine.
        validation: fraction of the stars held out.
        seconds_per_report: about how often progress is told, and how soon a cancel is heeded.
    """

    epochs: int = 14
    min_steps: int = 1500
    batch_size: int = 1024
    learning_rate: float = 2e-3
    validation: float = 0.1
    seconds_per_report: float = 0.25

    def plan(self, stars: int) -> tuple[int, int, int]:
        """Batch size, steps of an epoch, and steps in all for so many training stars."""
        batch = min(self.batch_size, stars)
        per_epoch = stars // batch
        return batch, per_epoch, per_epoch * max(self.epochs, math.ceil(self.min_steps / per_epoch))


class Progress(NamedTuple):
    """What a running fit tells: ``on_progress(progress)`` returning False cancels it."""

    stage: str
    step: int
    total: int
    seconds: float
    remaining: float | None
    train_loss: float
    validation_loss: float
    history: pd.DataFrame
    fraction: float


class Fit(NamedTuple):
    """How a fit ended.

    Attributes:
        model: the best model so far (by validation loss, if stars were held out).
        stopped: "finished", "cancelled" or "diverged".
        message: one sentence about it.
        history: losses, columns stage, step, train, validation.
        state: all that `optimise` needs to go on, a pytree of arrays.
    """

    model: Any
    stopped: str
    message: str
    history: pd.DataFrame
    state: "State"


class State(NamedTuple):
    """Where training stands: current and best model (arrays only), optimiser, step, best validation loss."""

    params: Any
    best: Any
    optimiser: Any
    step: Any
    best_loss: Any


OnProgress = Callable[[Progress], object] | None


def fit(
    density: AbstractDensity, data, config: FitConfig | None = None, *, key: PRNGKeyArray, condition=None,
    on_progress: OnProgress = None, resume: Fit | None = None, stage: str = "density",
) -> Fit:  # fmt: skip
    """Fit a density to stars by maximum likelihood.

    Args:
        density: where to start.
        data: (N, dim) points, in the density's units.
        config: how to train.
        key: of the split and the batches; the same key, data and config give the same fit.
        condition: (N, condition_dim), for a conditional density.
        on_progress: called with `Progress`; returning False cancels.
        resume: a cancelled fit of the same stars, key and config, to go on with.
        stage: its name in the progress and history.

    Raises:
        ValueError: for data of the wrong shape, not finite, or too few to learn from.
    """
    density._checked(np.zeros((1, *np.shape(data)[1:])), None if condition is None else np.asarray(condition)[:1])
    batch = (
        np.asarray(data, np.float32),
        *(() if condition is None else (np.asarray(condition, np.float32),)),
    )
    return optimise(
        density, negative_log_likelihood, batch, config or FitConfig(), key=key, on_progress=on_progress,
        resume=resume, stage=stage,
    )  # fmt: skip


def patiently(call: Callable[[], Any], tell: Callable[[], bool], every: float = 0.2):
    """The result of a slow ``call`` (a compilation), or None as soon as ``tell()``, asked meanwhile, returns False."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(call)
    pool.shutdown(wait=False)
    while True:
        try:
            return future.result(every)
        except TimeoutError:
            if future.done():  # the call's own time-out, not ours
                raise
            if not tell():
                return None


def negative_log_likelihood(density, data, condition=None):
    """Mean of -ln p over a batch."""
    return -density.log_prob(data, condition).mean()


def optimise(
    model, loss: Callable, data: tuple[np.ndarray, ...], config: FitConfig, *, key: PRNGKeyArray,
    on_progress: OnProgress = None, resume: Fit | None = None, stage: str = "fit",
) -> Fit:  # fmt: skip
    """Minimise ``loss(model, *batch)`` over rows of ``data`` with Adam; see `fit`."""
    size = len(data[0])
    if not all(np.isfinite(d).all() for d in data):
        raise ValueError(f"Expected finite numbers in the training data of {stage}, got NaN or inf; cut those rows.")
    k_split, k_batch = random.split(key)
    order = np.asarray(random.permutation(k_split, size))
    held_out = round(config.validation * size)
    count = size - held_out
    if count < 32:
        raise ValueError(f"Expected at least 32 stars to train {stage}, got {count} after the split; loosen the cuts.")
    # In equal parts, since the whole held-out set at once would take memory in proportion.
    parts = max(1, math.ceil(held_out / 8192))
    validation = tuple(jnp.asarray(np.stack(np.split(d[order[: held_out - held_out % parts]], parts))) for d in data)
    train = tuple(jnp.asarray(d[order[held_out:]]) for d in data)
    batch_size, per_epoch, total = config.plan(count)
    adam = optax.adam(optax.cosine_decay_schedule(config.learning_rate, total))
    params, static = eqx.partition(model, eqx.is_inexact_array)

    def value(params, batch):
        return loss(eqx.combine(params, static), *batch)

    @jax.jit
    def permutation(epoch):
        return random.permutation(random.fold_in(k_batch, epoch), count)

    @jax.jit
    def advance(state: State, rows, until, train):
        def one(carry):
            params, optimiser, step, summed = carry
            first = (step % per_epoch) * batch_size
            chosen = lax.dynamic_slice_in_dim(rows, first, batch_size)
            current, gradient = jax.value_and_grad(value)(params, tuple(d[chosen] for d in train))
            update, optimiser = adam.update(gradient, optimiser)
            return optax.apply_updates(params, update), optimiser, step + 1, summed + current

        start = (state.params, state.optimiser, state.step, jnp.zeros(()))
        params, optimiser, step, summed = lax.while_loop(lambda c: c[2] < until, one, start)
        new = state._replace(params=params, optimiser=optimiser, step=step)
        # A finite loss may still have had a gradient that was not.
        finite = jnp.stack([jnp.isfinite(p).all() for p in jax.tree.leaves(params)]).all()
        return new, jnp.where(finite, summed / jnp.maximum(until - state.step, 1), jnp.nan)

    @jax.jit
    def judge(params, validation):
        return lax.map(lambda batch: value(params, batch), validation).mean() if held_out else jnp.nan

    if resume is None:
        state = State(params, params, adam.init(params), jnp.zeros((), jnp.int32), jnp.asarray(jnp.inf))
        history = pd.DataFrame(columns=HISTORY)
    else:
        state, history = resume.state, pd.DataFrame(resume.history[resume.history.stage == stage])
    rows_of_history = history.to_dict("records")
    validation_loss = float(rows_of_history[-1]["validation"]) if rows_of_history else np.nan
    step = first_step = int(state.step)
    began, chunk_steps, stopped = time.monotonic(), 1, "finished"
    timed_from, timed_step = began, step
    epoch = -1

    def tell(train_loss=np.nan):
        if on_progress is None:
            return True
        now = time.monotonic()
        remaining = None if step <= timed_step else (now - timed_from) / (step - timed_step) * (total - step)
        history = pd.DataFrame(rows_of_history, columns=HISTORY)
        return on_progress(Progress(
            stage, step, total, now - began, remaining, train_loss, validation_loss, history, step / total
        )) is not False  # fmt: skip

    compiled = patiently(
        lambda: (
            advance.lower(state, permutation(0), 0, train).compile(), judge.lower(params, validation).compile()
        ), tell,
    )  # fmt: skip
    while step < total and stopped == "finished":
        if compiled is None:
            stopped = "cancelled"
            break
        if step // per_epoch != epoch:
            epoch = step // per_epoch
            rows = permutation(epoch)
        until = min(step + chunk_steps, (epoch + 1) * per_epoch)
        tick = time.monotonic()
        new, train_loss = compiled[0](state, rows, until, train)
        train_loss = float(train_loss)
        took = time.monotonic() - tick
        if not np.isfinite(train_loss):
            stopped = "diverged"
            break
        if step == first_step:  # the first call says little about the time a step takes
            timed_from, timed_step = time.monotonic(), until
        ideal = (until - step) * config.seconds_per_report / max(took, 1e-4)
        chunk_steps = int(np.clip(ideal, 1, 2 * chunk_steps))
        state, step = new, until
        if step == (epoch + 1) * per_epoch:
            validation_loss = float(compiled[1](state.params, validation))
            if not held_out or validation_loss < float(state.best_loss):  # with none held out, the last is the best
                state = state._replace(best=state.params, best_loss=jnp.asarray(validation_loss, jnp.float32))
        rows_of_history.append(dict(zip(HISTORY, (stage, step, train_loss, validation_loss), strict=True)))
        if not tell(train_loss) and step < total:
            stopped = "cancelled"
    message = {
        "finished": f"{stage}: finished after {total} steps.",
        "cancelled": f"{stage}: cancelled at step {step} of {total}; resume goes on from there.",
        "diverged": f"{stage}: the loss was not finite at step {step} of {total}; the last good state is kept, try a "
        f"learning rate below {config.learning_rate:g} or cut outliers.",
    }[stopped]
    return Fit(
        eqx.combine(state.best, static), stopped, message, pd.DataFrame(rows_of_history, columns=HISTORY), state
    )  # fmt: skip
