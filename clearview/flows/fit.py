"""Training: one loop that can be watched, cancelled within a fraction of a second, and resumed bit for bit."""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jax import lax, random
from jaxtyping import PRNGKeyArray

from clearview import checks
from clearview.checks import a
from clearview.flows.batches import Batches
from clearview.flows.density import checked

HISTORY = ["stage", "step", "train", "validation"]


@dataclass(frozen=True)
class FitConfig:
    """How to train.

    Attributes:
        epochs: passes over the training stars, at least.
        min_steps: there are as many more passes as give this many steps: few stars need more of them.
        batch_size: stars per step.
        learning_rate: of Adam at the start; it falls to zero along a cosine.
        b2: decay of Adam's running mean of squared gradients.
        validation: fraction of the stars held out.
        patience: passes without a lower validation loss after which training ends; None goes on to the last step.
        average: the model is the exponential mean of the weights over the last ``average`` of all steps; 0 takes
            the weights as they are. A few hundredths calm the end of a training; more than its tail spoils the
            gradients of the density.
        seconds_per_report: about how often progress is told, and how soon a cancel is heeded.
    """

    epochs: int = 14
    min_steps: int = 1500
    batch_size: int = 1024
    learning_rate: float = 2e-3
    validation: float = 0.1
    seconds_per_report: float = 0.25
    patience: int | None = None
    average: float = 0.0
    b2: float = 0.999

    def __post_init__(self):
        many = checks.MOST
        checks.numbers(self, whole=True, epochs=(1, many), min_steps=(0, many), batch_size=(1, many))
        checks.numbers(self, whole=True, optional=True, patience=(1, many))
        checks.numbers(self, learning_rate=(checks.ABOVE_0, many), seconds_per_report=(0, many))
        checks.numbers(self, b2=(0, checks.BELOW_1), validation=(0, checks.BELOW_1), average=(0, checks.BELOW_1))
        if self.patience is not None and not self.validation:
            raise ValueError("Expected stars held out to judge by where there is patience, got validation=0; raise it.")

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
        history: losses, columns stage, step, train, validation; of an ensemble the means over its members.
        state: all that `optimise` needs to go on, a pytree of arrays.
    """

    model: Any
    stopped: str
    message: str
    history: pd.DataFrame
    state: "State"


class State(NamedTuple):
    """Where training stands, a pytree of arrays (for an ensemble all but ``step`` have its axis in front).

    Attributes:
        params: the weights.
        average: their running mean, if one is kept, else ().
        best: the weights that judged best.
        optimiser: the state of Adam.
        step: how many steps are done.
        total: of how many.
        best_loss: validation loss of ``best``.
        waited: passes since then.
    """

    params: Any
    average: Any
    best: Any
    optimiser: Any
    step: Any
    total: Any
    best_loss: Any
    waited: Any

    @classmethod
    def begin(cls, model, config: FitConfig, members: int | None = None, total: int = 0) -> "State":
        """The state before the first step."""
        params = eqx.filter(model, eqx.is_inexact_array)
        init = jax.eval_shape(_adam(config, 1).init if members is None else jax.vmap(_adam(config, 1).init), params)
        # All zeros, as Adam begins; made by NumPy, since JAX would compile each shape first.
        optimiser = jax.tree.map(lambda leaf: jnp.asarray(np.zeros(leaf.shape, leaf.dtype)), init)
        each = () if members is None else (members,)
        return cls(
            params, params if config.average else (), params, optimiser, jnp.asarray(np.int32(0)),
            jnp.asarray(np.int32(total)),
            jnp.asarray(np.full(each, np.inf, np.float32)), jnp.asarray(np.zeros(each, np.int32)),
        )  # fmt: skip


def _adam(config: FitConfig, steps: int) -> optax.GradientTransformation:
    return optax.adam(optax.cosine_decay_schedule(config.learning_rate, steps), b2=config.b2)


OnProgress = Callable[[Progress], object] | None

OnPreview = Callable[[Any], object] | None

OnModel = Callable[[Callable[[], Fit]], object] | None
"""Gets, after each report of a training, a function that gives the fit so far: its model has the present weights, and
it can be resumed as a cancelled one."""


class Previews:
    """Shows what is learnt so far about every ``every`` seconds, and so seldom that it takes under a tenth of the time.

    Args:
        show: gets an unfinished fit, or the exception that prevented one, after which there are no more; None for
            nobody.
        every: seconds.
        name: of the argument that ``every`` was.
        needed: whether an exception that prevents one ends the training, as of a checkpoint.
    """

    def __init__(self, show: OnPreview, every: float, name: str = "preview", *, needed: bool = False):
        self.show, self.every, self.needed = show, checks.number(name, every, 0), needed
        self.next, self.took = time.monotonic() + every, 0.0

    def __call__(self, make: Callable[[], Any]) -> None:
        """Show ``make()``, if it is time; None is not shown."""
        begun = time.monotonic()
        if self.show is None or begun < self.next:
            return
        try:
            made = make()
        except Exception as problem:  # of a picture on the way, for which no training is lost
            if self.needed:
                raise
            self.show(problem)
            self.show = None
            return
        if made is not None:
            self.show(made)
        now = time.monotonic()
        # The first of a kind compiles, which would put the next one off for minutes.
        self.next = now + max(self.every, 9 * min(now - begun, self.took))
        self.took = now - begun


def fit(
    model, data, config: FitConfig | None = None, *, key: PRNGKeyArray, condition=None,
    on_progress: OnProgress = None, on_model: OnModel = None, resume: Fit | None = None, stage: str = "density",
) -> Fit:  # fmt: skip
    """Fit a model to stars: a density by maximum likelihood, a score model by score matching.

    Args:
        model: where to start; whatever has ``dim``, ``condition_dim`` and ``loss(key, x, condition)``.
        data: (N, dim) points, in the model's units. Of a `numpy.memmap` the training rows are read as they are used,
            and the result is the same; in memory are then their order (some 8 bytes a row) and the held-out rows.
        config: how to train.
        key: of the split and the batches; the same key, data and config give the same fit.
        condition: (N, condition_dim), for a conditional model.
        on_progress: called with `Progress`; returning False cancels.
        on_model: called after each report with a function that gives the fit so far; see `OnModel`.
        resume: a cancelled fit of the same stars, key and config, to go on with.
        stage: its name in the progress and history.

    Raises:
        ValueError: for data of the wrong shape, not finite, or too few to learn from, or a ``resume`` that does not
            belong to them.
    """
    batch = training_data(model, data, condition)
    return optimise(
        model, loss_of_model, batch, config or FitConfig(), key=key, on_progress=on_progress, on_model=on_model,
        resume=resume, stage=stage,
    )  # fmt: skip


def training_data(model, data, condition) -> tuple[np.ndarray, ...]:
    """``data`` and ``condition`` as arrays that suit the model."""
    arrays = [d if isinstance(d, np.memmap) else np.asarray(d, np.float32) for d in (data, condition) if d is not None]
    if any(a.ndim != 2 or len(a) != len(arrays[0]) for a in arrays):
        raise ValueError(
            f"Expected data, and a condition if there is one, as tables (N, numbers) of one length, got shapes "
            f"{', '.join(str(a.shape) for a in arrays)}; stack the columns."
        )
    checked(model, np.zeros((1, arrays[0].shape[1])), None if condition is None else np.zeros((1, arrays[1].shape[1])))
    return tuple(arrays)


def pack_history(history: pd.DataFrame) -> dict[str, list]:
    """A history as JSON holds it: without NaN."""
    return {name: [None if v != v else v for v in history[name].tolist()] for name in HISTORY}


def unpack_history(packed: dict[str, list]) -> pd.DataFrame:
    """The inverse of `pack_history`."""
    if set(packed) != set(HISTORY):
        raise ValueError(f"Expected a history of {', '.join(HISTORY)}, got {', '.join(packed)}; train anew.")
    return pd.DataFrame(packed, columns=HISTORY).astype({"train": float, "validation": float})


STOPPED = "finished", "cancelled", "diverged"


def told_of(header: dict[str, Any]) -> dict[str, Any]:
    """What the header of every fit tells of how it ended, each of its kind.

    Raises:
        KeyError, TypeError, ValueError: if something is missing or of another kind.
    """
    told = {name: a(header[name], str, name) for name in ("data_digest", "stopped", "message")}
    if told["stopped"] not in STOPPED:
        raise ValueError(f"Expected a fit that {', '.join(STOPPED)}, got {told['stopped']!r}; train anew.")
    stars = checks.number("stars", header["stars"], 1, whole=True)
    return {
        **told, "stars": stars, "source": a(header["source"], dict, "a source"),
        "history": unpack_history(header["history"]),
    }  # fmt: skip


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


def loss_of_model(model, key, data, condition=None):
    """The model's own loss of a batch."""
    return model.loss(key, data, condition)


def optimise(
    model, loss: Callable, data: tuple[np.ndarray, ...], config: FitConfig, *, key: PRNGKeyArray,
    on_progress: OnProgress = None, on_model: OnModel = None, resume: Fit | None = None, stage: str = "fit",
    members: int | None = None, bootstrap: bool = False, annealed: bool = False,
) -> Fit:  # fmt: skip
    """Minimise ``loss(model, key, *batch)`` over rows of ``data`` with Adam; see `fit` and `fit_ensemble`.

    An ``annealed`` loss changes on the way: it takes the keyword ``done``, the share of the steps behind it, and stars
    held out are judged as at the end, with ``done=1``.
    """
    stars = Batches(data, config, key, stage, members, bootstrap)
    batch_size, per_epoch, total = stars.batch_size, stars.per_epoch, stars.total
    judged = bool(stars.validation[0].size)
    adam = _adam(config, total)
    _, static = eqx.partition(model, eqx.is_inexact_array)
    kept = 1 - math.exp(-1 / (config.average * total)) if config.average else 0.0
    each = 0 if members is not None and stars.mapped else None
    devices, of_members = stars.devices, members is not None

    def vmapped(function, axes):
        return function if members is None else jax.vmap(function, axes, spmd_axis_name=devices.axis)

    def value(params, key, batch, done=1.0):
        told = {"done": done} if annealed else {}
        return loss(eqx.combine(params, static), key, *map(devices.split, batch), **told)

    def learn(params, average, optimiser, rows, data, key, first, done):
        chosen = lax.dynamic_slice_in_dim(rows, first, batch_size)
        current, gradient = jax.value_and_grad(value)(params, key, tuple(d[chosen] for d in data), done)
        update, optimiser = adam.update(gradient, optimiser)
        params = optax.apply_updates(params, update)
        return params, jax.tree.map(lambda a, p: a + kept * (p - a), average, params), optimiser, current

    begin = State.begin(model, config, members, total)
    lies = None if devices.mesh is None else (devices.where(begin, of_members), devices.where(0.0, False))

    @partial(jax.jit, out_shardings=lies)
    def advance(state: State, rows, data, origin, until, key):
        def one(carry):
            params, average, optimiser, step, summed = carry
            now = random.fold_in(key, step)
            params, average, optimiser, current = vmapped(learn, (0, 0, 0, 0, each, None, None, None))(
                params, average if config.average else params, optimiser, rows, data, now,
                (step - origin) * batch_size, step / total,
            )  # fmt: skip
            return params, average if config.average else (), optimiser, step + 1, summed + current

        start = (state.params, state.average, state.optimiser, state.step, jnp.zeros_like(state.best_loss))
        params, average, optimiser, step, summed = lax.while_loop(lambda c: c[3] < until, one, start)
        new = state._replace(params=params, average=average, optimiser=optimiser, step=step)
        # A finite loss may still have had a gradient that was not.
        finite = jnp.stack([jnp.isfinite(p).all() for p in jax.tree.leaves(params)]).all()
        return new, jnp.where(finite, (summed / jnp.maximum(until - state.step, 1)).mean(), jnp.nan)

    @partial(jax.jit, out_shardings=lies)
    def judge(state: State, validation, key):
        """The state with its best weights, and the losses of the present ones."""
        now = state.average if config.average else state.params
        parts = lax.map(lambda batch: vmapped(value, (0, None, None))(now, key, batch), validation)
        losses = parts.mean(0)
        better = losses < state.best_loss

        def choose(a, b):
            return jnp.where(better.reshape(better.shape + (1,) * (a.ndim - better.ndim)), a, b)

        best = jax.tree.map(choose, now, state.best)
        waited = jnp.where(better, 0, state.waited + 1)
        return state._replace(best=best, best_loss=jnp.minimum(losses, state.best_loss), waited=waited), losses.mean()

    state, history = begin, pd.DataFrame(columns=HISTORY)
    if resume is not None:
        if resume.stopped == "finished":
            return resume

        def form(state):
            return jax.tree.structure(state), [jnp.shape(leaf) for leaf in jax.tree.leaves(state)]

        if form(resume.state) != form(state) or int(resume.state.total) != total:
            raise ValueError(
                f"Expected to resume {stage} with the stars, model and plan it began with ({total} steps), got a fit "
                f"of {int(resume.state.total)} steps or of another model; pass the same, or train anew."
            )
        state, history = resume.state, pd.DataFrame(resume.history[resume.history.stage == stage])
    state = devices.put(state, of_members)
    rows_of_history = history.to_dict("records")
    validation_loss = float(rows_of_history[-1]["validation"]) if rows_of_history else np.nan
    step = first_step = int(state.step)
    began, chunk_steps, stopped = time.monotonic(), 1, "finished"
    timed_from, timed_step = began, step
    rows = train = None
    origin = end = step
    early = ""

    def tell(train_loss=np.nan):
        if on_progress is None:
            return True
        now = time.monotonic()
        remaining = None if step <= timed_step else (now - timed_from) / (step - timed_step) * (total - step)
        history = pd.DataFrame(rows_of_history, columns=HISTORY)
        return on_progress(Progress(
            stage, step, total, now - began, remaining, train_loss, validation_loss, history, step / total
        )) is not False  # fmt: skip

    def so_far(state: State, step: int) -> Fit:
        model = eqx.combine(state.average if config.average else state.params, static)
        history = pd.DataFrame(rows_of_history, columns=HISTORY)
        return Fit(model, "cancelled", f"{stage}: cut off after step {step}.", history, state)

    def compile_both():
        window = stars.at(min(step, total - 1))
        calls = [advance.lower(state, *window[:2], 0, 0, key)]
        calls += [judge.lower(state, stars.validation, key)] if judged else []
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda call: call.compile(), calls))

    compiled = patiently(compile_both, tell)
    while step < total and stopped == "finished":
        if compiled is None:
            stopped = "cancelled"
            break
        if step >= end:
            rows, train, origin, end = stars.at(step)
        until = min(step + chunk_steps, end)
        tick = time.monotonic()
        new, train_loss = compiled[0](state, rows, train, origin, until, key)
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
        if step % per_epoch == 0:
            if judged:
                state, mean_loss = compiled[1](state, stars.validation, key)
                validation_loss = float(mean_loss)
                if not np.isfinite(validation_loss):
                    stopped = "diverged"
            else:  # with none held out, the last is the best
                state = state._replace(best=state.average if config.average else state.params)
            if config.patience is not None and step < total and int(np.min(state.waited)) >= config.patience:
                early, total = f", as the validation loss had not fallen for {config.patience} passes", step
        rows_of_history.append(dict(zip(HISTORY, (stage, step, train_loss, validation_loss), strict=True)))
        if not tell(train_loss) and step < total and stopped == "finished":
            stopped = "cancelled"
        if on_model is not None and stopped == "finished" and step < total:
            tick = time.monotonic()
            on_model(lambda state=state, step=step: so_far(devices.gather(state), step))
            timed_from += time.monotonic() - tick  # a step takes no longer for it
    message = {
        "finished": f"{stage}: finished after {total} steps{early}.",
        "cancelled": f"{stage}: cancelled at step {step} of {total}; resume goes on from there.",
        "diverged": f"{stage}: the loss was not finite at step {step} of {total}; the last good state is kept, try a "
        f"learning rate below {config.learning_rate:g} or cut stars that the model cannot have.",
    }[stopped]
    state = devices.gather(state)
    return Fit(
        eqx.combine(state.best, static), stopped, message, pd.DataFrame(rows_of_history, columns=HISTORY), state
    )  # fmt: skip
