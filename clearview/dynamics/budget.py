"""The error budget of a map: what other seeds, other stars and other measurements would have given.

Three parts are kept apart. *training*: flows trained anew from other weights on the same stars; they train together.
*statistics*: the potential solved anew from the same stars drawn with replacement (bootstrap). *measurement*: solved
anew from the stars measured once more within their errors. The last two share the central map's f(x, v), for in the
equations behind the potential f only chooses what is averaged over the stars (see `clearview.dynamics.potential`);
flows trained anew on other stars would differ by their training, too, and count that part twice. (On a mock of 20,000
stars, 8 maps trained anew from bootstrapped stars scattered by 1.07 times the root of the summed squares of training
and statistics, 8 from stars measured again by 1.04 times that of training and measurement.) A fourth part, *formal*,
is the spread that the solution of these equations states itself: finite statistics and the prior.

The bias that measurement errors make is not in it: `clearview.dynamics.simex_map` takes most of it out.
"""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jax import random

from clearview import checks, flows
from clearview.catalogs import Catalog
from clearview.catalogs.errors import resample
from clearview.dynamics.extrapolation import in_ball, refit, thinned
from clearview.dynamics.maps import MapConfig, MapFit, fit_map, load_map, save_map
from clearview.dynamics.potential import Gradients, fit_potential, score_gradients
from clearview.dynamics.series import formal_members
from clearview.flows import MAF, Ensemble, Fit, Progress, State
from clearview.flows.checkpoint import last_good
from clearview.flows.fit import HISTORY, OnProgress, Previews, pack_history, unpack_history

PARTS = ("statistics", "measurement", "training")
"""In the order in which they are made: the cheap ones first."""

_WORDS = {
    "error": "error", "formal": "formal error", "statistics": "error by the number of stars",
    "measurement": "error by measurement", "training": "error by training",
}  # fmt: skip


class Group(NamedTuple):
    """Maps that train together, not all finished: number of the first, how many, which flow is in training and where
    it stands."""

    first: int
    count: int
    stage: int
    n: Ensemble
    p: Ensemble
    state: State | None
    history: pd.DataFrame


@dataclass
class ErrorBudget:
    """A map and what it might as well have been. ``ErrorBudget(fit)`` is a beginning from a finished map.

    Attributes:
        central: the map.
        parts: "statistics", "measurement" and "training" to the maps of each; whatever takes a map takes them.
        stopped: "finished", "cancelled" or "diverged".
        message: how it ended, and what was left out.
        group: training under way, or None.
    """

    central: MapFit
    parts: dict[str, list[MapFit]] = field(default_factory=lambda: {name: [] for name in PARTS})
    stopped: str = "cancelled"
    message: str = "Not begun."
    group: Group | None = None

    def formal(self, members: int = 32) -> list[MapFit]:
        """Maps drawn from what the solution for the potential leaves open; no training."""
        return formal_members(self.central, members)

    def field(self, function: Callable[..., xr.Dataset], *args, formal: int = 32, **kwargs) -> xr.Dataset:
        """A field with errors: ``budget.field(acceleration_field, axes, fixed)``.

        Args:
            function: of a map, ``args`` and ``kwargs``, giving a field: `acceleration_field`, `density_field`, ...
            formal: how many draws stand for the formal part.

        Returns:
            The central map's field with, beside each variable ``q``, the standard deviations ``q_training``,
            ``q_statistics`` and ``q_measurement`` (each where there are members), ``q_formal``, and ``q_error``, the
            root of the sum of their squares, for which of statistics and formal the larger is taken: both hold the
            finite number of stars. What all members have in common (the bias of the method) is in none of them.
        """
        out = function(self.central, *args, **kwargs)
        parts = {name: maps for name, maps in {**self.parts, "formal": self.formal(formal)}.items() if len(maps) > 1}
        errors = {name: _values(out, [function(m, *args, **kwargs) for m in maps]) for name, maps in parts.items()}
        added = {}
        for q in out:
            spread = {name: values[q].std(0, ddof=1) for name, values in errors.items()}
            finite = np.maximum(spread["formal"], spread.get("statistics", 0.0))
            spread["error"] = np.sqrt(finite**2 + sum(spread.get(n, 0.0) ** 2 for n in ("training", "measurement")))
            added |= {f"{q}_{name}": _beside(out[q], v, _WORDS[name]) for name, v in spread.items()}
        counts = {f"members_{name}": len(maps) for name, maps in parts.items()}
        return out.assign(added).assign_attrs(counts | {"error_budget": self.message})


def _values(out: xr.Dataset, fields: list[xr.Dataset]) -> dict[Any, np.ndarray]:
    return {q: np.stack([np.asarray(f[q], float) for f in fields]) for q in out}


def _beside(variable: xr.DataArray, values, words: str):
    """``values`` as a companion of a field's variable, in its units."""
    label = f"{variable.attrs.get('long_name', variable.name)}, {words}"
    return variable.dims, np.asarray(values, np.float32), variable.attrs | {"long_name": label}


def error_budget(
    catalog: Catalog, config: MapConfig | None = None, *, training: int = 4, bootstrap: int = 4,
    measurement: int | None = None, seconds: float | None = None, on_progress: OnProgress = None,
    resume: ErrorBudget | None = None, path=None, checkpoint: float = 30.0, clock: Callable[[], float] = time.monotonic,
) -> ErrorBudget:  # fmt: skip
    """A map with its error budget; the parts are described at the top of the module.

    Args:
        catalog: stars with 6-D phase space.
        config: of the map; not with ``resume``.
        training, bootstrap, measurement: how many members each part is to have, 0 or at least 2; for ``measurement``
            None takes 4 if the stars have errors; if not, ``message`` says so.
        seconds: what the call may take. The map itself is always finished. The cheap parts come first; the first
            member of each is timed (for the training that is the map), then as many are made as there is time for,
            and ``message`` tells how many.
        on_progress: called with `clearview.flows.Progress`, whose ``fraction`` and ``remaining`` cover everything;
            returning False cancels.
        resume: a budget of the same stars, cancelled or with fewer members; what is finished is kept.
        path: a directory where each member is saved as soon as it is there, and what is in training about every
            ``checkpoint`` seconds; see `load_budget`.
        clock: gives seconds.

    Raises:
        ValueError: for a part of one member, a config without a potential, or whatever `fit_map` or `resample` refuse.
        KeyError: if measurement errors are asked for and the stars have none.
        FileExistsError: if the path exists and there is no ``resume``.
    """
    begun, note = clock(), ""
    chosen = config or (resume.central.config if resume else MapConfig())
    if min(asked := (training, bootstrap, measurement or 0)) < 0 or 1 in asked:
        raise ValueError(f"Expected no or at least 2 members in each part, got {asked}; one alone has no spread.")
    if chosen.potential is None:
        raise ValueError("Expected a config with a potential, got none; there is no error budget of the density only.")
    if path is not None and resume is None and Path(path).exists():
        raise FileExistsError(f"Expected a new directory, {path} exists; choose another or resume load_budget(path).")
    if measurement != 0:
        try:
            resample(catalog, 0)
        except (KeyError, ValueError) as error:
            if measurement is not None:
                raise
            measurement, note = 0, f" No part for the errors of measurement: {error.args[0]}"
    wanted = {"statistics": bootstrap, "measurement": 4 if measurement is None else measurement, "training": training}
    work = {"central": 1.0, "training": 1.0, "statistics": 0.1, "measurement": 0.2}  # roughly; for the progress only
    total, done = 1 + sum(work[name] * n for name, n in wanted.items()), 0.0

    def tell(name: str, share: float, p: Progress | None = None) -> bool:
        """Progress: the members of ``name`` under way are worth ``share`` finished ones."""
        if on_progress is None:
            return True
        fraction, took = min(1.0, (done + share * work[name]) / total), clock() - begun
        p = p or Progress(name, 0, 0, 0.0, None, np.nan, np.nan, pd.DataFrame(columns=HISTORY), 0.0)
        remaining = took * (1 / fraction - 1) if fraction else None
        stage = p.stage if name in ("central", p.stage) else f"{name}: {p.stage}"
        return on_progress(p._replace(stage=stage, seconds=took, remaining=remaining, fraction=fraction)) is not False

    written: dict[str, int] = {name: 0 for name in ("central", *PARTS)}

    def save(budget: ErrorBudget) -> None:
        if path is not None:
            _save(dataclasses.replace(budget, stopped="cancelled", message="Cut off."), Path(path), written)
            written.update({name: len(maps) for name, maps in budget.parts.items()})

    def central(fit: MapFit) -> ErrorBudget:
        now = dataclasses.replace(resume or ErrorBudget(fit), central=fit, stopped=fit.stopped)
        now.parts = {name: list(now.parts[name]) for name in PARTS}
        return now

    fit = fit_map(
        catalog, config, on_progress=lambda p: tell("central", p.fraction, p), resume=resume and resume.central,
        on_checkpoint=None if path is None else lambda fit: save(central(fit)), checkpoint=checkpoint,
    )  # fmt: skip
    budget = central(fit)
    price = {} if resume is not None and resume.central.complete else {"training": clock() - begun}
    save(budget)
    written["central"] = 1
    stars, kept = thinned(fit, catalog) if fit.complete else catalog, []
    for name in PARTS:
        have = budget.parts[name]
        while budget.stopped == "finished" and (missing := wanted[name] - len(have)) > 0:
            if seconds is not None:
                left = seconds - (clock() - begun)
                missing = min(missing, int(left / max(price[name], 1e-9)) if name in price else int(left > 0))
                if missing < 1 or (name in price and len(have) + missing < 2):
                    break
            tick, before = clock(), {n: len(maps) for n, maps in budget.parts.items()}
            done = 1 + sum(work[n] * count for n, count in before.items())
            if name == "training":
                _train(budget, catalog, stars, save, checkpoint, missing, tell)
            else:
                _redraw(budget, stars, name, tell, kept)
            if (made := len(have) - before[name]) > 0:
                price[name] = (clock() - tick) / made
            save(budget)
    ended, counts = budget.stopped, {name: len(budget.parts[name]) for name in PARTS}
    if seconds is not None and ended == "finished" and any(counts[name] < wanted[name] for name in PARTS):
        ended = f"ended with what could be afforded in {seconds:g} s"
    told = ", ".join(f"{counts[name]} of {wanted[name]} for {name}" for name in PARTS)
    budget.message = f"Error budget {ended}: members {told}.{note}"
    if path is not None:
        _save(budget, Path(path), written)
    return budget


def _redraw(budget: ErrorBudget, stars: Catalog, name: str, tell, kept: list[Gradients]) -> None:
    """One more member of "statistics" or "measurement", or ``budget.stopped``."""
    fit, number = budget.central, len(budget.parts[name])
    if name == "measurement":
        member = refit(fit, resample(stars, number).catalog, on_batch=lambda i, n: tell(name, i / n))
    else:
        if not kept:  # the gradients at the stars are those of the central map in every member
            found = score_gradients(fit.density, *in_ball(fit, stars), on_batch=lambda i, n: tell(name, 0.0))
            kept += [found] if found else []
        member = _bootstrap(fit, kept[0], number, lambda i, n: tell(name, i / n)) if kept else None
    if member is not None:
        budget.parts[name].append(member)
    else:
        budget.stopped = "cancelled"


def _bootstrap(fit: MapFit, gradients: Gradients, number: int, on_batch) -> MapFit | None:
    size = len(gradients.x)
    rows = np.random.default_rng([fit.config.seed, number]).integers(0, size, size)
    solved = fit_potential(
        fit.series, Gradients(*(a[rows] for a in gradients)), fit.config.potential, bootstrap=True, on_batch=on_batch
    )  # fmt: skip
    return solved and dataclasses.replace(fit, series=solved)


def _train(budget: ErrorBudget, catalog: Catalog, stars: Catalog, save, checkpoint: float, count: int, tell) -> None:
    """More members of "training", together, or ``budget.stopped`` and what there is in ``budget.group``."""
    fit, have, config = budget.central, budget.parts["training"], budget.central.config
    if budget.group is None:
        n, p = (Ensemble(_stacked(d, count)) for d in (fit.density.n, fit.density.p))
        budget.group = Group(len(have), count, 0, n, p, None, pd.DataFrame(columns=HISTORY))
    group, before = budget.group, len(have) - budget.group.first
    x, v = in_ball(fit, catalog)
    local, place = (np.asarray(a) for a in fit.density.velocity_input(x, v))
    # Another group of the same budget begins with other weights, and so does the central map.
    keys = random.split(random.fold_in(random.key(config.seed), 1000 + group.first))
    builds = (
        lambda key: eqx.tree_at(lambda d: d.inner.inner, fit.density.n, MAF(3, None, config.positions, key=key)),
        lambda key: eqx.tree_at(lambda d: d.inner, fit.density.p, MAF(3, 3, config.velocities, key=key)),
    )
    checkpoints = Previews(save, checkpoint, "checkpoint", needed=True)

    def so_far(group: Group, made: Fit) -> ErrorBudget:
        return dataclasses.replace(budget, group=group._replace(state=made.state, history=made.history))

    while group.stage < 2:
        k = group.stage
        result = flows.fit_ensemble(
            builds[k], (x, local)[k], config.training, key=keys[k], members=group.count, condition=(None, place)[k],
            on_progress=lambda p, k=k, group=group: tell("training", 0.45 * group.count * (k + p.fraction), p),
            on_model=lambda made, group=group: checkpoints(lambda: so_far(group, made())),
            resume=None if group.state is None else Fit(None, "cancelled", "", group.history, group.state),
            stage=("positions", "velocities")[k],
        )  # fmt: skip
        ended = result.stopped == "finished"
        trained = {"np"[k]: result.model}
        group = group._replace(
            stage=k + ended, state=None if ended else result.state, history=result.history, **trained
        )
        budget.group, budget.stopped = group, result.stopped
        if not ended:
            return
        save(budget)
    share = 0.9 * group.count - before
    while (i := len(have) - group.first) < group.count:
        flows_of_one = group.n.member(i), group.p.member(i)
        density = eqx.tree_at(lambda f: (f.n, f.p), fit.density, flows_of_one)
        member = refit(
            dataclasses.replace(fit, density=density), stars,
            on_batch=lambda j, n, i=i: tell("training", share + 0.1 * (i + j / n)),
        )  # fmt: skip
        if member is None:
            budget.stopped = "cancelled"
            return
        have.append(member)
        save(budget)
    budget.group = None


def _stacked(density, count: int):
    """The density with every array ``count`` times."""
    arrays, static = eqx.partition(density, eqx.is_array)
    return eqx.combine(jax.tree.map(lambda a: jnp.stack([a] * count), arrays), static)


def save_budget(budget: ErrorBudget, path, *, overwrite: bool = False) -> None:
    """Write a budget, finished or not, to a directory: a file for each map (see `save_map`) and one for the rest.

    Raises:
        FileExistsError: if the path exists and ``overwrite`` is False.
    """
    if Path(path).exists() and not overwrite:
        raise FileExistsError(f"Expected a new directory, {path} exists; choose another name or pass overwrite=True.")
    _save(budget, Path(path), dict.fromkeys(("central", *PARTS), 0))


def _save(budget: ErrorBudget, path: Path, written: dict[str, int]) -> None:
    """All but the maps that are ``written`` already."""
    if not written["central"]:
        save_map(budget.central, path / "central", overwrite=True, keep=True)
    for name in PARTS:
        for i, member in enumerate(budget.parts[name]):
            if i >= written[name]:
                save_map(member, path / f"{name}-{i}", overwrite=True)
    g = budget.group
    header = dict(
        members={name: len(maps) for name, maps in budget.parts.items()}, stopped=budget.stopped,
        message=budget.message,
        group=g and dict(first=g.first, count=g.count, stage=g.stage, state=g.state is not None,
                         history=pack_history(g.history)),
    )  # fmt: skip
    flows.save(path / "budget", "budget", header, g and (g.n, g.p, g.state), overwrite=True, keep=True)


def load_budget(path, lost: list[str] | None = None) -> ErrorBudget:
    """Read what `save_budget` wrote.

    Args:
        path: the directory.
        lost: gets a sentence for each damaged file; it is renamed, what was in it is left out, and a resumed budget
            makes it again. None refuses a damaged file.

    Raises:
        FileNotFoundError, CheckpointError: see `clearview.flows.load`; always for the central map.
    """
    path = checks.path_of(path)

    def read(name: str, load: Callable[[Path], Any]) -> Any:
        return load(path / name) if lost is None else last_good(path / name, load, lost)

    if (central := read("central", load_map)) is None:
        if lost:
            raise flows.CheckpointError(lost[-1])
        return load_budget(path)  # which says why not

    def build(header):
        if (g := header["group"]) is None:
            return None
        checks.number("count", g["count"], 1, 1000, whole=True)
        n, p = (_stacked(d, g["count"]) for d in (central.density.n, central.density.p))
        state = State.begin((n, p)[g["stage"]], central.config.training, g["count"]) if g["state"] else None
        return Ensemble(n), Ensemble(p), state

    def belongs(member: MapFit | None) -> bool:
        """Found without a list, it has to be of this map, whose f(x, v) it shares."""
        return member is not None and (listed or (
            member.config == central.config and bool(eqx.tree_equal(member.density, central.density))
        ))  # fmt: skip

    header: Any
    arrays: Any
    listed = True
    header, arrays = read("budget", lambda file: flows.load(file, "budget", build)) or ({}, None)
    if not header:  # the parts that are made one by one need no list of them
        if lost:
            lost.append("The list of members is lost; those of training are made again.")
        listed = False
        found = [file.name.rpartition("-") for file in path.iterdir()]
        some = {name: sum(n == name and i.isdigit() for n, _, i in found) for name in PARTS if name != "training"}
        header = dict(members={"training": 0, **some}, stopped="cancelled", message="Cut off.", group=None)
    group = None
    with flows.described(path / "budget"):
        counts = {name: checks.number(name, header["members"][name], 0, 10**6, whole=True) for name in PARTS}
        stopped, message = (checks.a(header[name], str, name) for name in ("stopped", "message"))
        if (g := header["group"]) is not None:
            n, p, state = arrays
            first, count, stage = (checks.number(name, g[name], 0, whole=True) for name in ("first", "count", "stage"))
            group = Group(first, count, stage, n, p, state, unpack_history(g["history"]))
    parts: dict[str, list[MapFit]] = {}
    for name, count in counts.items():
        members = [read(f"{name}-{i}", load_map) for i in range(count)]
        parts[name] = list(takewhile(belongs, members))
        if missing := len(members) - len(parts[name]):
            stopped, message = "cancelled", f"Cut off: members of {name} were lost."
            if name == "training":  # they are made together
                parts[name], group = [], None
            if lost is not None:
                again = "all of them" if name == "training" else f"the last {missing}"
                lost.append(f"Members of {name} are lost; {again} are made again.")
    if stopped == "finished" and not central.complete:  # it is the one before
        stopped, message = "cancelled", f"Cut off: the map is not finished ({central.message})"
    return ErrorBudget(central, parts, stopped, message, group)
