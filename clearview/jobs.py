"""Long work that outlives its process: maps, scans and error budgets, each job in a directory of its own.

A job's directory holds ``job.json`` (what is to be done; it never changes), ``status.json`` (the last sign of life of
its runner), ``log.txt``, ``cancel`` (there while the runner is to stop), ``stars.parquet`` (if it was given stars, not
a file), and for each task a folder ``0000``, ... with a status, a lock and the checkpoints, which alone decide what is
done. Any process that sees the directory can watch, cancel or run it; a runner may be killed at any moment.

``python -m clearview.jobs run DIRECTORY`` runs or resumes one, ``... status DIRECTORY`` tells where it stands.
"""

import argparse
import errno
import hashlib
import json
import math
import os
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from html import escape
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import jax
import pandas as pd

import clearview
from clearview import checks
from clearview.catalogs import Catalog, load_prepared, read_catalog
from clearview.catalogs.prepared import HEADER
from clearview.dynamics import ErrorBudget, MapConfig, MapFit, error_budget, fit_map, load_budget, load_map, save_map
from clearview.dynamics.maps import default_config
from clearview.flows import CheckpointError, Progress
from clearview.flows.checkpoint import (
    OtherVersion,
    last_good,
    only_one,
    read_plan,
    set_aside,
    sync_folder,
    write_plan,
    write_whole,
)
from clearview.flows.fit import HISTORY, pack_history, unpack_history

POLL = 1.0
"""Seconds between two signs of life."""

SILENT = 15.0
"""Seconds without one after which a runner counts as gone."""

MOST = 10_000
"""Tasks of a job."""

_WHAT, _VERSION, _STATES = "job", 1, ("finished", "running", "failed", "stopped", "cancelled", "waiting")
_BUDGET = {"training": 4, "bootstrap": 4, "measurement": None}
_POINTS = 400  # of the loss curve in a status
_OLD = 3600.0  # seconds after which a half-written file is nobody's
_BLOCK = 4096  # what a file takes at least; a longer message does not come
_children: list[subprocess.Popen] = []  # who forgets one is warned of it

OnStatus = Callable[["Status"], object] | None


class Status(NamedTuple):
    """Where a job stands.

    Attributes:
        state: "waiting", "running", "finished", "cancelled", "failed" (``message`` says why) or "stopped": its runner
            ended without a word, as one that was killed does. All but "finished" can be run on.
        message: in words; also what had to be done again because a checkpoint was damaged.
        fraction: of all the work, 0 to 1.
        remaining: seconds, or None as long as that is not known.
        tasks: how many are in which state.
        history: losses of the task that was last heard of, columns stage, step, train, validation.
    """

    state: str
    message: str
    fraction: float
    remaining: float | None
    tasks: dict[str, int]
    history: pd.DataFrame

    def __str__(self):
        left = "" if self.remaining is None else f", about {self.remaining:.0f} s left"
        return f"{self.state}, {self.fraction:.0%}{left}: {self.message}"

    def _repr_html_(self):
        return f'<div><progress max="1" value="{self.fraction:.4f}"></progress> {escape(str(self))}</div>'


class Job:
    """Maps that are trained in a directory, wherever and as often as that takes; see the module.

    Args:
        directory: of a job that `create` made.

    Attributes:
        directory: where it is.
        config: of the map, or what a scan changes.
        scan: the changes, name to values.
        budget: how many members each part of an error budget is to have, or None for maps alone.
        every: about how many seconds lie between two checkpoints.
        configs: of each task.

    Raises:
        FileNotFoundError: if there is no job.
        ValueError: if its ``job.json`` is damaged, foreign or senseless.
    """

    def __init__(self, directory):
        self.directory = checks.full_path(directory)  # the program may go elsewhere
        plan = read_plan(self.directory / "job.json", _WHAT, _VERSION)
        try:
            self._data: dict[str, Any] = dict(plan["data"])
            if [type(self._data[name]) for name in ("path", "sha256", "digest")] != [str] * 3:
                raise ValueError("the data are not told by three texts")
            self._versions = dict(plan["versions"])
            self.config, self.scan, self.budget, self.every = _sensible(plan)
            self._scanned = _tasks(self.config, self.scan)
            self.configs = [config for _, config in self._scanned]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as problem:
            raise ValueError(
                f"Expected a job that makes sense, got another in {self.directory / 'job.json'} "
                f"({type(problem).__name__}: {problem}); make one with Job.create."
            ) from None

    @classmethod
    def create(
        cls, directory, stars, config: MapConfig | None = None, *, scan: Mapping[str, Iterable] | None = None,
        budget: Mapping[str, int | None] | bool = False, every: float = 30.0,
    ) -> "Job":  # fmt: skip
        """Write down a job, or open it if the same one is there already.

        Args:
            directory: of the job; on a disk that all machines see if several are to work on it.
            stars: path of a file with 6-D phase space that `clearview.read_catalog` reads, or of a folder that
                `LargeCatalog.prepare` wrote, whose columns stay on the disk; either stays where it is. Or a
                `clearview.Catalog`, which is written to the directory.
            config: of the map, by default a ball around the stars' own Sun.
            scan: what to vary, ``{"potential.degree": [6, 8], "seed": range(4)}``: one task for each combination. Many
                seeds are an ensemble.
            budget: an error budget with each map: True, or how many members of ``training``, ``bootstrap`` and
                ``measurement``, as `clearview.dynamics.error_budget` takes them.
            every: about how many seconds lie between two checkpoints: so much a kill costs.

        Raises:
            FileExistsError: if another job is there, or other stars, be it in a column that no map uses.
            FileNotFoundError, KeyError, ValueError: if there are no such stars, or they have no phase space; for a scan
                or budget that makes no sense.
            TypeError: for an argument of another kind.
        """
        directory = checks.full_path(directory)
        checks.a(config, (MapConfig, type(None)), "a MapConfig")
        checks.a(stars, (str, os.PathLike, Catalog), "stars as a path or a Catalog")
        checks.a(budget, (bool, Mapping), "a budget as True, False or how many members of each part")
        varied: Any = checks.a({} if scan is None else scan, Mapping, "a scan as a mapping of settings to their values")
        plan: dict[str, Any] = dict(
            config=(config or MapConfig()).to_dict(),
            scan={name: _listed(name, values) for name, values in varied.items()},
            budget=None if budget is False else _BUDGET | ({} if budget is True else dict(budget)),
            every=every,
            versions={"clearview": clearview.__version__, "jax": jax.__version__},
        )  # fmt: skip
        first, plan["scan"], plan["budget"], plan["every"] = _sensible(plan)
        _tasks(first, plan["scan"])
        if not next(there for there in (directory, *directory.parents) if there.exists()).is_dir():
            raise FileExistsError(f"Expected a directory for the job, got {directory}, a file; choose another.")
        given = isinstance(stars, Catalog)
        path = directory / "stars.parquet" if given else checks.full_path(stars)
        catalog = stars if given else _catalog(path)
        digest = catalog.digest()
        plan["config"] = (config or default_config(catalog)).to_dict()
        directory.mkdir(parents=True, exist_ok=True)
        if given and not path.exists():
            _write_stars(catalog, path)
        elif given and not _equal(_catalog(path), catalog):
            raise FileExistsError(f"Expected a new directory, got {path}, which holds other stars; choose another.")
        inside = path.is_relative_to(directory)  # so the directory can be moved
        told = str(path.relative_to(directory) if inside else path)
        plan["data"] = {"path": told, "sha256": _sha256(path), "digest": digest}
        plan = json.loads(json.dumps(plan))
        if (directory / "job.json").exists():
            there = read_plan(directory / "job.json", _WHAT, _VERSION)
            if {**there, "versions": 0} != {**plan, "versions": 0}:
                raise FileExistsError(
                    f"Expected a new directory, got {directory}, which holds another job; choose another, or open that "
                    f"with Job({str(directory)!r})."
                )
            return cls(directory)
        write_plan(directory / "job.json", _WHAT, _VERSION, plan)
        return cls(directory)

    # ---- what is done with it ------------------------------------------------------------------------------------

    def run(self, *, on_progress: OnStatus = None, client=None) -> Status:
        """Do what is not done yet, here, from the last checkpoints on; several processes may do so side by side.

        Args:
            on_progress: called about once a second with the `Status`; returning False cancels.
            client: a `dask.distributed.Client` (or whatever has its ``submit``) to whose workers the tasks go; they
                must see the directory and the stars under the same paths.

        Returns:
            The status; a task that cannot be done is "failed" there, and the others are done nevertheless.

        Raises:
            FileNotFoundError, ValueError: before any work, if the stars are not there or not the same any more.
            OSError: if the disk is full, or cannot be read or written otherwise; this ends the runner, and the tasks
                after it are not begun. The last checkpoints are whole, and the job can be run on.
        """
        self._asked.unlink(missing_ok=True)
        return self._run(on_progress, client)

    def start(self) -> None:
        """Run it in a process of its own, which goes on after this one has ended.

        Raises:
            RuntimeError: if it runs already.
            FileNotFoundError, ValueError: as `run`.
        """
        if self.status.state == "running":
            raise RuntimeError(f"Expected a job that rests, {self.directory} is running; cancel it or wait for it.")
        self._check_stars()
        self._asked.unlink(missing_ok=True)
        _children[:] = [child for child in _children if child.poll() is None]
        # A minute for the imports, in which it gives no sign of life.
        _write_status(self.directory / "status.json", {**_told("Starting."), "until": time.time() + 60})
        with open(self.directory / "log.txt", "ab") as log:
            command = [sys.executable, "-m", "clearview.jobs", "run", str(self.directory), "--started"]
            _children.append(subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            ))  # fmt: skip

    def cancel(self) -> None:
        """Ask whoever runs it to stop, which takes about a second; what is done is kept, and `run` goes on."""
        write_whole(self._asked, b"")

    def result(self, task: int | None = None) -> Any:
        """What has come out: a `MapFit` or an `ErrorBudget`, of a scan a list of these.

        Args:
            task: the number of one task, which alone has to be finished then.

        Raises:
            ValueError: if it is not finished.
            CheckpointError: if what was finished is damaged, or of another version of ClearView.
        """
        if task is None and self.scan:
            return [self.result(number) for number in range(len(self.configs))]
        chosen: int = checks.number("task", 0 if task is None else task, 0, len(self.configs) - 1, whole=True)
        path = self._path(chosen)
        if not path.exists():
            raise ValueError(f"Expected a finished job, task {chosen} has not begun; run the job.")
        try:
            made = load_map(path) if self.budget is None else load_budget(path)
        except OtherVersion:
            raise
        except (FileNotFoundError, CheckpointError) as problem:
            raise CheckpointError(f"{problem} The job can be run again: it makes anew what is lost.") from None
        done = made.stopped == "finished" and (isinstance(made, ErrorBudget) or made.complete)
        if not done:
            raise ValueError(f"Expected a finished job, task {chosen} is not ({made.message}); run the job.")
        return made

    @property
    def status(self) -> Status:
        """Where it stands, by what its runners last wrote."""
        own = _read_status(self.directory / "status.json")
        tasks = [_read_status(self._folder(number) / "status.json") for number in range(len(self.configs))]
        counts = Counter(task["state"] for task in tasks)
        states = {own["state"], *counts}
        if counts["finished"] == len(tasks):
            state, told = "finished", tasks
        else:
            state = next((s for s in _STATES[1:] if s in states), "waiting")
            told = [task for task in tasks if task["state"] == state] or [own]
        last = max(told, key=lambda task: task["until"])
        message = last["message"]
        if len(tasks) > 1:
            number = next((i for i, task in enumerate(tasks) if task is last), None)
            which = "" if number is None or state == "finished" else f" Task {number}{self._changes(number)}: {message}"
            lost = " ".join(task["lost"] for task in tasks if task["lost"])
            message = f"{counts['finished']} of {len(tasks)} tasks finished.{which or ' ' * bool(lost) + lost}"
        known = [t["seconds"] + (t["remaining"] or 0.0) for t in tasks if t["seconds"] and t["fraction"] > 0]
        usual = sum(known) / len(known) if known else None
        remaining = None
        if state == "running" and usual is not None:
            rest = [t["remaining"] if t["state"] == "running" else None for t in tasks if t["state"] != "finished"]
            remaining = sum(usual if r is None else r for r in rest) / max(1, counts["running"])
        heard = max(tasks, key=lambda task: task["until"])
        return Status(
            state, message, sum(1.0 if t["state"] == "finished" else t["fraction"] for t in tasks) / len(tasks),
            remaining, {s: counts[s] for s in _STATES if counts[s]}, heard["history"],
        )  # fmt: skip

    def __repr__(self):
        return f"Job {self.directory}: {self.status}"

    def _repr_html_(self):
        return f"<div><b>Job {escape(str(self.directory))}</b>{self.status._repr_html_()}</div>"

    # ---- inside --------------------------------------------------------------------------------------------------

    @property
    def _asked(self) -> Path:
        return self.directory / "cancel"

    def _folder(self, number: int) -> Path:
        return self.directory / f"{number:04d}"

    def _path(self, number: int) -> Path:
        """Of the checkpoints of a task: a file, or the folder of an error budget."""
        return self._folder(number) / ("map.clearview" if self.budget is None else "budget")

    def _changes(self, number: int) -> str:
        changes = ", ".join(f"{name}={value}" for name, value in self._scanned[number][0].items())
        return f" ({changes})" if changes else ""

    def _log(self, text: str) -> None:
        with suppress(OSError), open(self.directory / "log.txt", "a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} [{os.getpid()}] {text}\n")

    def _sweep(self) -> None:
        """Remove what runners that were killed long ago left; another may be writing a younger one."""
        for partial in self.directory.glob(".*.partial*"):
            with suppress(OSError):
                if time.time() - partial.stat().st_mtime > _OLD:
                    partial.unlink()

    def _check_stars(self) -> Path:
        path = self.directory / self._data["path"]
        if not path.exists():
            raise FileNotFoundError(
                f"Expected the stars of the job in {path}, got nothing there; put it back and run the job again: "
                "nothing is lost."
            )
        if _sha256(path) != self._data["sha256"]:
            raise ValueError(
                f"Expected the stars that the job began with, {path} has changed since; put the file back as it was, "
                "or make a new job."
            )
        return path

    def _stars(self) -> Catalog:
        return _catalog(self._check_stars())

    def _run(self, on_progress: OnStatus, client) -> Status:
        last = 0.0

        def heard(*_) -> None:
            nonlocal last
            if on_progress is not None and time.monotonic() - last >= POLL:
                last = time.monotonic()
                if on_progress(self.status) is False:
                    self.cancel()

        self._log("A runner begins.")
        try:
            self._sweep()
            with _Signs(self.directory / "status.json") as signs:
                stars = self._stars()
                now = {"clearview": clearview.__version__, "jax": jax.__version__}
                if now != self._versions:
                    self._log(f"Begun with {self._versions}, goes on with {now}: the last digits may differ.")
                if client is None:
                    for number in range(len(self.configs)):
                        work(self, number, stars=stars, on_progress=heard)
                else:
                    # The time is there because Dask would take equal calls for one.
                    calls = [(str(self.directory), number, time.time_ns()) for number in range(len(self.configs))]
                    self._wait([client.submit(work, *call) for call in calls], heard)
                signs.tell(state="cancelled" if self._asked.exists() else "waiting", message="No runner is at work.")
        except BaseException as error:
            self._log(f"The runner ends: {error or type(error).__name__}")
            raise
        if on_progress is not None:
            on_progress(self.status)
        self._log(f"The runner ends: {self.status}")
        return self.status

    def _wait(self, futures, heard: Callable[[], None]) -> None:
        try:
            while not all(future.done() for future in futures):
                time.sleep(POLL / 4)
                heard()
        except BaseException:
            self.cancel()
            raise
        for future in futures:
            if (error := future.exception()) is not None:
                raise error

    def _do(self, number: int, stars: Catalog, report: Callable[[Progress], object], note: Callable[[str], None]):
        config, path = self.configs[number], self._path(number)
        made: Any = None
        lost: list[str] = []
        if self.budget is None:
            made = last_good(path, load_map, lost)
        else:
            try:
                made = load_budget(path, lost)
            except OtherVersion:
                raise
            except (FileNotFoundError, CheckpointError):
                set_aside(path)  # nothing in it can be used without the map
        for sentence in lost:
            note(sentence)
        if lost and made is None:
            note("There is no good checkpoint before it: this task begins again.")
        elif lost:
            note("This task goes on from what is good.")
        if made is not None:
            central = made if isinstance(made, MapFit) else made.central
            if (central.config, central.data_digest) != (config, self._data["digest"]):
                raise ValueError(
                    f"Expected checkpoints of this job in {path}, got those of another; choose a new directory."
                )
        given: dict[str, Any] = dict(
            config=None if made else config, resume=made, on_progress=report, checkpoint=self.every
        )  # fmt: skip
        if self.budget is not None:
            return error_budget(stars, path=path, **given, **self.budget)

        def save(fit: MapFit) -> None:
            save_map(fit, path, overwrite=True, keep=True)

        fit = fit_map(stars, on_checkpoint=save, **given)
        if lost or made is None or (made.stage, made.stopped) != (fit.stage, "finished"):
            save(fit)
        return fit


def work(directory, number: int, unique: int = 0, *, stars: Catalog | None = None, on_progress=None) -> str:
    """Do one task of a job, from its last checkpoint on, unless somebody else does: what workers of a cluster run.

    Args:
        directory: of the job, or the `Job` itself.
        number: of the task.
        unique: not used; it tells one call from another.
        stars: those of the job, if they are there already.
        on_progress: called with each `Progress`.

    Returns:
        The state of the task.

    Raises:
        OSError: as `Job.run`.
    """
    job = directory if isinstance(directory, Job) else Job(directory)
    if job._asked.exists():
        return "cancelled"
    folder, name = job._folder(number), f"Task {number}{job._changes(number)}"
    with only_one(folder / "lock") as free:
        if not free:
            return "running"
        for partial in folder.rglob(".*.partial"):  # of runners that were killed
            partial.unlink(missing_ok=True)
        signs = _Signs(folder / "status.json")

        def note(sentence: str) -> None:
            job._log(f"{name}: {sentence}")
            signs.tell(lost=f"{signs.now['lost']} {sentence}".strip())

        def report(progress: Progress) -> bool:
            history = progress.history.iloc[:: max(1, len(progress.history) // _POINTS)]
            signs.tell(
                message=f"{progress.stage.capitalize()}: step {progress.step} of {progress.total}.", history=history,
                fraction=float(progress.fraction), remaining=progress.remaining, seconds=progress.seconds,
            )  # fmt: skip
            if on_progress is not None:
                on_progress(progress)
            return not job._asked.exists()

        with signs:
            job._log(f"{name} begins.")
            try:
                made = job._do(number, job._stars() if stars is None else stars, report, note)
                state = "failed" if made.stopped == "diverged" else made.stopped
                signs.tell(state=state, message=made.message)
                if state == "finished":
                    signs.tell(fraction=1.0, remaining=0.0)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise
                raise OSError(
                    f"Expected room for a checkpoint in {folder}, the disk is full; free some and run the job again: "
                    "it goes on from the last checkpoint, which is whole."
                ) from error
            except Exception as error:  # the other tasks may be well
                job._log(traceback.format_exc())
                state = "failed"
                signs.tell(state=state, message=checks.sentence(error))
        job._log(f"{name}: {state}. {signs.now['message']}")
    return state


class _Signs:
    """Signs of life: a status file that a thread writes anew every second until the work in the ``with`` is over."""

    def __init__(self, path: Path):
        self.path, self.now, self._over = path, _told("Starting."), threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name="clearview-job")

    def tell(self, **news) -> None:
        self.now = {**self.now, **news}  # a new one, since the thread may be reading the old one

    def __enter__(self):
        self._write()
        self._thread.start()
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._over.set()
        self._thread.join()
        if error is not None:
            self.tell(state="failed" if isinstance(error, Exception) else "stopped", message=checks.sentence(error))
        self._write()

    def _beat(self) -> None:
        while not self._over.wait(POLL):
            self._write()

    def _write(self) -> None:
        _write_status(self.path, {**self.now, "until": time.time() + SILENT})


def _told(message: str) -> dict[str, Any]:
    """A status as it begins."""
    none = pd.DataFrame(columns=HISTORY)
    return dict(state="running", message=message, lost="", fraction=0.0, seconds=0.0, remaining=None, history=none)


def _write_status(path: Path, told: dict[str, Any]) -> None:
    try:
        write_whole(path, json.dumps({**told, "history": pack_history(told["history"])}).encode().ljust(_BLOCK))
    except OSError:  # a full disk still takes what fits into the old file
        short = json.dumps({**told, "history": None}).encode()
        with suppress(OSError), open(path, "r+b") as file:
            file.write(short.ljust(os.fstat(file.fileno()).st_size))


def _read_status(path: Path) -> dict[str, Any]:
    """A status, "waiting" if there is none that can be read: the checkpoints know better, and run brings it back."""
    out = {**_told(""), "state": "waiting", "until": 0.0}
    try:
        told = json.loads(path.read_bytes())
        numbers = {name: float(told[name]) for name in ("fraction", "seconds", "until")}
        left = told["remaining"]
        numbers["remaining"] = 0.0 if left is None else float(left)
        history = out["history"] if told["history"] is None else unpack_history(told["history"])
        if told["state"] not in _STATES or not all(map(math.isfinite, numbers.values())):
            return out
        texts = {name: str(told[name])[:2000] for name in ("state", "message", "lost")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return out
    out |= {**numbers, **texts, "history": history}
    out["remaining"] = None if left is None else max(0.0, numbers["remaining"])
    out["fraction"] = min(1.0, max(0.0, out["fraction"]))
    if out["state"] == "running" and out["until"] < time.time():
        out |= {"state": "stopped", "message": "The runner ended without a word; run the job again, it goes on."}
    if out["lost"]:
        out["message"] += f" {out['lost']}"
    return out


def _sensible(plan: dict[str, Any]) -> tuple[MapConfig, dict[str, list], dict[str, Any] | None, float]:
    """The config, scan, budget and interval of a plan, with plain numbers.

    Raises:
        KeyError, TypeError, ValueError: if they are none.
    """
    config, scan, budget, every = MapConfig.from_dict(plan["config"]), plan["scan"], plan["budget"], plan["every"]
    every = float(checks.number("every", every, 0))
    for name, values in scan.items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"Expected a list of values for {name}, got {checks.shown(values)}; correct it.")
    if budget is not None:
        if unknown := set(budget) - set(_BUDGET):
            raise ValueError(
                f"Expected a budget of {', '.join(_BUDGET)}, got {', '.join(map(checks.shown, unknown))}; correct it."
            )
        budget = {
            name: checks.number(f"members of {name}", count, 0, 1000, whole=True, optional=name == "measurement")
            for name, count in budget.items()
        }
        for name, count in budget.items():
            if count == 1:
                raise ValueError(f"Expected no or at least 2 members of {name}, got {count}; correct it.")
        if config.potential is None:
            raise ValueError(
                "Expected a config with a potential, got none; there is no error budget of the density only."
            )
    return config, scan, budget, every


def _tasks(config: MapConfig, scan: dict[str, list]) -> list[tuple[dict[str, Any], MapConfig]]:
    """The changes and the config of each task."""
    if (count := math.prod(len(values) for values in scan.values())) > MOST:
        raise ValueError(f"Expected at most {MOST:,} tasks, got {count:,}; scan less at once.")
    made = []
    for values in product(*scan.values()):
        changes, told = dict(zip(scan, values, strict=True)), config.to_dict()
        for name, value in changes.items():
            *parents, last = name.split(".")
            part: Any = told
            for parent in parents:
                part = part.get(parent) if isinstance(part, dict) else None
            if not isinstance(part, dict) or last not in part:
                raise ValueError(
                    f"Expected to scan a setting of MapConfig such as 'seed' or 'potential.degree', got {name!r}; "
                    f"correct it."
                )
            part[last] = value
        made.append((changes, MapConfig.from_dict(told)))
    return made


def _listed(name: str, values) -> list:
    """The values of a scan as JSON holds them."""
    if not isinstance(name, str):
        raise ValueError(
            f"Expected to scan a setting of MapConfig such as 'seed' or 'potential.degree', got {checks.shown(name)}; "
            "correct it."
        )
    values = _plain(values)
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"Expected a list of values for {name}, got {checks.shown(values)}; put it in brackets.")
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    """A value, be it of NumPy, as JSON holds it."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _catalog(path: Path) -> Catalog:
    return load_prepared(path) if path.is_dir() else read_catalog(path)


def _equal(one: Catalog, other: Catalog) -> bool:
    """Whether all columns are the same, the errors of measurement among them."""
    names = sorted(one.columns)
    return names == sorted(other.columns) and one.digest(names) == other.digest(names)


def _write_stars(stars: Catalog, path: Path) -> None:
    """As `write_whole`."""
    partial = path.with_name(f".{os.getpid()}.{threading.get_ident()}.partial.parquet")
    try:
        stars.write(partial)
        with open(partial, "r+b") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


def _sha256(path: Path) -> str:
    """Of a file; of a folder of columns that of its header, which holds their digest."""
    with open(path / HEADER if path.is_dir() else path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 if the job is finished."""
    parser = argparse.ArgumentParser(prog="python -m clearview.jobs", description="Run a job, or tell where it stands.")
    parser.add_argument("do", choices=["run", "status"])
    parser.add_argument("directory")
    parser.add_argument("--started", action="store_true", help=argparse.SUPPRESS)  # a cancel meanwhile counts
    given = parser.parse_args(arguments)

    def told(status: Status) -> None:
        print(f"\r{status.state} {status.fraction:6.1%}", end="", flush=True)

    try:
        job = Job(given.directory)
        if given.do == "run":
            if not given.started:
                job._asked.unlink(missing_ok=True)
            job._run(told if sys.stdout.isatty() else None, None)
    except (OSError, ValueError, KeyError) as error:
        print(checks.sentence(error), file=sys.stderr)
        return 1
    print(job.status)
    return 0 if job.status.state == "finished" else 1


if __name__ == "__main__":
    sys.exit(main())
