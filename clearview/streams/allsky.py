"""The search of many patches at once, on the workers of Dask, and what they found as streams over the sky.

A directory holds ``plan.json`` (the patches, what is done in each, and which stars; it never changes), ``stars`` (if
these are not read where they are), for each patch ``0000.scan.parquet`` once it is searched and ``0000.json`` (what
that took, or why it could not be done), ``log.txt``, ``cancel`` (there while runs are to stop), and in the end
``candidates.ecsv``. All are written whole or not at all, so that a run that was killed at any moment goes on, several
may work on one directory side by side, and the table does not depend on how often that took.

``python -m clearview.streams.allsky run DIRECTORY`` runs or resumes one, ``... status DIRECTORY`` tells of it.
The patches are those of Via Machinae (Shih et al. 2023, arXiv:2303.01529), and so is their merging.
"""

import argparse
import dataclasses
import errno
import hashlib
import io
import json
import multiprocessing
import os
import re
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from astropy.table import Table
from scipy.optimize import nnls

import clearview
from clearview import checks
from clearview.catalogs import Catalog, LargeCatalog, load_prepared, open_catalog, read_catalog
from clearview.catalogs.prepared import HEADER, unfinished
from clearview.catalogs.select import NoStars
from clearview.flows.checkpoint import only_one, read_plan, set_aside, write_plan, write_whole
from clearview.streams.across import check_identifiers, merge_scans, tracks_of
from clearview.streams.config import ScanConfig
from clearview.streams.found import Scan, load_scan
from clearview.streams.merge import AS_PUBLISHED, MergeConfig
from clearview.streams.nulls import Null, null_scans
from clearview.streams.regions import CLOUDS, SCANS, Patch, signal_regions, tile_sky
from clearview.streams.scan import scan_patch
from clearview.streams.view import fewest_of, view_of

PATIENCE = 300.0
"""Seconds that a run waits for the first worker of its own."""

POLL = 1.0
"""Seconds between two calls of ``on_progress``, and until a patch that another run searches is asked for again."""

_WHAT, _VERSION, _MADE_BY = "search", 2, "SkyScan.create"
_NEEDED = ("ra", "dec", "pmra", "pmdec")
_USED = (*_NEEDED, "source_id", "pmra_error", "pmdec_error")
_CELL = 15.0  # deg: stars from memory are written in pieces of the sky of that size
_SETTLED = ("finished", "refused")
_RECORD = dict(
    state=str, message=str, stars=int, seconds=float, memory_mb=float, first=bool, sha256=str, task=str, empty=list
)
_searched: list[int] = []  # by this process


class SkyProgress(NamedTuple):
    """Where a search stands.

    Attributes:
        state: "running", "waiting" (to be run, or run on), "cancelled", "failed" (a patch failed; running on tries it
            again), or "finished".
        message: in words.
        done: patches that need nothing more.
        total: patches.
        refused: those of them that cannot be searched, such as for want of stars.
        failed: patches that went wrong.
        remaining: seconds, or None as long as that is not known.
    """

    state: str
    message: str
    done: int
    total: int
    refused: int
    failed: int
    remaining: float | None

    @property
    def fraction(self) -> float:
        """Of the patches, 0 to 1."""
        return self.done / self.total

    def __str__(self):
        left = "" if self.remaining is None else f", about {self.remaining / 60:.0f} min left"
        return f"{self.state}, {self.done} of {self.total} patches{left}: {self.message}"


OnSky = Callable[[SkyProgress], object] | None


class Cost(NamedTuple):
    """What patches took, as a straight line in their stars.

    Attributes:
        patches: measured.
        start: seconds that the first patch of a worker took longer, to compile what the others use.
        fixed: seconds of a patch without stars.
        per_star: seconds.
        memory_mb: the most that a worker has taken.
        hours: of all patches asked for.
    """

    patches: int
    start: float
    fixed: float
    per_star: float
    memory_mb: float
    hours: float

    def __str__(self):
        return (
            f"{self.hours:.3g} h ({self.fixed:.3g} s and {1e5 * self.per_star:.3g} s for 100,000 stars a patch, "
            f"{self.memory_mb:,.0f} MB a worker; from {self.patches} patches)"
        )


@dataclass(frozen=True)
class _Source:
    """Where the stars are.

    Attributes:
        path: of Parquet files, as `open_catalog` takes it.
        columns: that are read.
        digest: of the files' ends, which tell sizes and statistics of all columns.
    """

    path: str
    columns: tuple[str, ...]
    digest: str


class SkyScan:
    """A search of many patches in a directory, wherever and as often as that takes; see the module.

    Args:
        directory: of a search that `create` made.

    Attributes:
        directory: where it is.
        patches, config, zones, fewest, merge, empty: as `create` was told.

    Raises:
        FileNotFoundError: if there is no search.
        ValueError: if its ``plan.json`` is damaged, foreign or senseless.
    """

    def __init__(self, directory):
        self.directory = checks.full_path(directory)
        plan = read_plan(self.directory / "plan.json", _WHAT, _VERSION, made_by=_MADE_BY)
        try:
            self.patches, self.zones = ([Patch(*one) for one in plan[name]] for name in ("patches", "zones"))
            self.config = ScanConfig.from_dict(plan["config"])
            self.merge = checks.from_plain(MergeConfig, plan["merge"])
            self.fewest = checks.number("fewest", plan["fewest"], 1, whole=True)
            self.empty = checks.number("empty", plan["empty"], 0, whole=True)
            self._source = _Source(plan["data"]["path"], tuple(plan["data"]["columns"]), plan["data"]["digest"])
            self._versions = dict(plan["versions"])
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise ValueError(
                f"Expected a search that makes sense, got another in {self.directory / 'plan.json'} "
                f"({type(problem).__name__}: {problem}); make one with {_MADE_BY}."
            ) from None
        self._tasks = _tasks_of(plan)

    @classmethod
    def create(
        cls, directory, stars, patches: Sequence[Patch] | None = None, config: ScanConfig | None = None, *,
        zones: Sequence[Patch] = CLOUDS, fewest: int = 1000, merge: MergeConfig = AS_PUBLISHED, empty: int = 0,
    ) -> "SkyScan":  # fmt: skip
        """Write down a search, or open it if the same one is there already.

        Parquet files (one, a folder of them, a pattern, a HATS catalogue) with ``source_id`` are read where they are,
        each patch only those that may have stars of it, so that files which are pieces of the sky serve best. All
        other stars are written to the directory once, the columns that are needed alone.

        Args:
            directory: of the search; on a disk that all workers see under this path.
            stars: with ra, dec, pmra, pmdec, and as far as they are there colour, magnitude, errors of the proper
                motions and source_id, one a star, without which its number stands for it: the path of a file that
                `clearview.read_catalog` reads or of anything that `clearview.open_catalog` opens; or a `Catalog`; or a
                `LargeCatalog`, such as of a Dask DataFrame or LSDB catalogue.
            patches: to search, by default `tile_sky()`.
            config: what to do in each.
            zones: pieces of the sky whose stars are left out.
            fewest: stars that a patch has to have.
            merge: when what two patches found is one stream.
            empty: how many empty patches made from each (`null_scans`) are searched likewise, so that `candidates`
                tells how likely each is a fluke. Each takes about as long as its patch, with a ``method`` once more
                for the scores.

        Raises:
            FileExistsError: if another search is there, or what it or somebody else left.
            FileNotFoundError, KeyError, ValueError: if there are no such stars, they lack a column, or, as far as that
                is seen without reading all files, do not have a source_id each; patches where it is seen later are
                refused.
            TypeError: for an argument of another kind.
        """
        directory = checks.full_path(directory)
        chosen: ScanConfig = checks.a(ScanConfig() if config is None else config, ScanConfig, "a ScanConfig")
        checks.a(merge, MergeConfig, "a MergeConfig")
        checks.number("fewest", fewest, 1, whole=True)
        checks.number("empty", empty, 0, 10_000, whole=True)
        if empty and chosen.method is not None and chosen.sky:
            raise ValueError(
                "Expected scores that know nothing of the sky for empty patches, got sky=True; pass empty=0."
            )
        patches = tile_sky() if patches is None else list(patches)
        if not 1 <= len(patches) <= 10_000:
            raise ValueError(f"Expected 1 to 10,000 patches, got {len(patches):,}; search others apart.")
        for patch in (*patches, *zones):
            checks.a(patch, Patch, "patches as Patch")
        checks.a(stars, (str, os.PathLike, Catalog, LargeCatalog), "stars as a path, a Catalog or a LargeCatalog")
        if not next(there for there in (directory, *directory.parents) if there.exists()).is_dir():
            raise FileExistsError(f"Expected a directory for the search, got {directory}, a file; choose another.")
        columns = (*_USED, chosen.fiducial.magnitude_column, chosen.fiducial.color_column)
        if new := not (directory / "plan.json").exists():
            _check_free(directory)
        source = _source(directory, stars, columns)
        plan = json.loads(json.dumps({
            "patches": [dataclasses.astuple(p) for p in patches], "zones": [dataclasses.astuple(z) for z in zones],
            "config": chosen.to_dict(), "merge": dataclasses.asdict(merge), "fewest": fewest,
            "empty": empty, "data": dataclasses.asdict(source),
            "versions": {"clearview": clearview.__version__, "jax": jax.__version__, "numpy": np.__version__},
        }))  # fmt: skip
        if not new:
            there = read_plan(directory / "plan.json", _WHAT, _VERSION, made_by=_MADE_BY)
            odd = [name for name in plan if name != "versions" and there.get(name) != plan[name]]
            if odd:
                raise FileExistsError(
                    f"Expected a new directory, got {directory}, which holds another search (other {', '.join(odd)}); "
                    f"choose another, or open that with SkyScan({str(directory)!r})."
                )
        else:
            _check_free(directory, _tasks_of(plan))
            directory.mkdir(parents=True, exist_ok=True)
            write_plan(directory / "plan.json", _WHAT, _VERSION, plan)
        return cls(directory)

    # ---- what is done with it ------------------------------------------------------------------------------------

    def run(self, *, client: Any = None, workers: int = 2, on_progress: OnSky = None) -> SkyProgress:
        """Search the patches that are not searched yet, then merge what all have found.

        Args:
            client: where: a `dask.distributed.Client`, the address of a scheduler, or a cluster such as dask-jobqueue's
                ``SLURMCluster``, whose workers see the directory and the stars under the same paths. By default
                processes on this machine, which end with the run.
            workers: how many of these.
            on_progress: called about once a second with the `SkyProgress`; returning False cancels: own processes are
                killed at once, those of a cluster stop at the next step of their search.

        Returns:
            Where it stands then. A patch that cannot be searched is "refused" and one that went wrong "failed", and the
            others are searched nevertheless.

        Raises:
            ImportError: without Dask's ``distributed``.
            RuntimeError: if none of the processes on this machine comes up, as in a script that does not have this
                below ``if __name__ == "__main__":``, which they import first.
            FileNotFoundError, ValueError: before any work, if the stars are not there or not the same any more.
        """
        checks.number("workers", workers, 1, 10_000, whole=True)
        _refuse_in_import(client)
        self._asked.unlink(missing_ok=True)
        self._check_stars()
        now = {"clearview": clearview.__version__, "jax": jax.__version__, "numpy": np.__version__}
        if now != self._versions:
            self._log(f"Begun with {self._versions}, goes on with {now}: the last digits may differ.")
        states = {number: self._state(number) for number in range(len(self.patches))}
        left = [number for number, state in states.items() if state not in _SETTLED]
        state = "finished"
        self._log(f"A run begins, {len(left)} of {len(states)} patches are left.")
        if left:
            state = self._search(left, states, client, min(workers, len(left)), on_progress)
        if state == "finished":
            table = self.candidates()
            buffer = io.StringIO()
            table.write(buffer, format="ascii.ecsv")
            write_whole(self.directory / "candidates.ecsv", buffer.getvalue().encode())
        progress = self._progress(state, states)
        self._log(f"The run ends: {progress}")
        if on_progress is not None:
            on_progress(progress)
        return progress

    def cancel(self) -> None:
        """Ask whoever runs it to stop; what is done is kept, and `run` goes on."""
        write_whole(self._asked, b"")

    @property
    def status(self) -> SkyProgress:
        """Where it stands, by the files in the directory."""
        states = {number: self._state(number, verify=False) for number in range(len(self.patches))}
        waiting = any(state not in _SETTLED for state in states.values())
        failed = "failed" in states.values()
        return self._progress("failed" if failed else "waiting" if waiting else "finished", states)

    def scan(self, number: int) -> Scan:
        """What was found in a patch.

        Raises:
            ValueError: if it is not searched, saying why.
        """
        checks.number("number", number, 0, len(self.patches) - 1, whole=True)
        if self._state(number, verify=False) == "finished":
            return load_scan(self._path(number))
        told = self._record(number)
        raise ValueError(f"Expected a patch that was searched, {number} was not: {told.get('message', 'run it')}")

    def scans(self) -> dict[int, Scan]:
        """All that was found so far, by the patch's number."""
        numbers = range(len(self.patches))
        return {n: load_scan(self._path(n)) for n in numbers if self._state(n, verify=False) == "finished"}

    def candidates(self) -> Table:
        """Streams over the sky, of the patches that are searched so far; see `merge_scans`.

        If ``empty`` patches were searched, too, `Null.judge` tells of the strongest part of each stream, by those of
        all patches and for as many patches as are searched: ``p_fluke``, the probability that chance makes a candidate
        as strong anywhere in as many empty patches, and so after all places that were looked at; ``p_extrapolated``;
        and ``false_alarms``, candidates as strong that as many empty patches have on average. Patches that overlap are
        counted as if they did not. p_fluke cannot be lower than about 1 / ``empty``, however strong a candidate is.
        """
        scans = self.scans()
        table: Any = merge_scans(scans, self.patches, self.merge)[0]
        if self.empty and len(table):
            told = [np.array(one, float) for number in scans for one in self._record(number)["empty"]]
            null = Null(np.array([one.max(initial=0.0) for one in told]), tuple(told), "permuted", np.nan)
            best = [tuple(map(int, parts.split(",")[0].split(":"))) for parts in table["parts"]]
            strongest: Any = Table({"strength": [scans[number].candidates["strength"][row] for number, row in best]})
            judged: Any = null.judge(
                dataclasses.replace(scans[best[0][0]], candidates=strongest), len(scans)
            ).candidates
            for name in judged.colnames[1:]:
                table[name] = judged[name]
        states = [self._state(number, verify=False) for number in range(len(self.patches))]
        table.meta |= {
            "patches": len(self.patches), "searched": states.count("finished"), "refused": states.count("refused"),
            "empty": self.empty,
        }  # fmt: skip
        return table

    def tracks(self) -> Table:
        """Points along each of `candidates`, which `clearview.figures.sky_map` draws; see `tracks_of`."""
        scans = self.scans()
        return tracks_of(merge_scans(scans, self.patches, self.merge)[0], scans, self.patches)

    def members(self, number: int) -> Table:
        """The stars near a candidate of `candidates`, each once, with the highest of its probabilities."""
        tables = merge_scans(self.scans(), self.patches, self.merge)[1]
        return tables[checks.number("number", number, 0, len(tables) - 1, whole=True)]

    def estimate(self, patches: int = 200, workers: int = 2, stars: int | None = None) -> Cost:
        """How long a larger search takes, from what the patches here took on workers like these.

        Args:
            patches: of the larger search.
            workers: of it.
            stars: of a patch, by default the mean here.

        Raises:
            ValueError: if no patch is finished.
        """
        checks.number("patches", patches, 1)
        checks.number("workers", workers, 1)
        told = [self._record(number) for number in range(len(self.patches))]
        return cost_of([one for one in told if one.get("state") == "finished"], patches, workers, stars)

    def __repr__(self):
        return f"SkyScan {self.directory}: {self.status}"

    # ---- inside --------------------------------------------------------------------------------------------------

    @property
    def _asked(self) -> Path:
        return self.directory / "cancel"

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:04d}.scan.parquet"

    def _log(self, text: str) -> None:
        with suppress(OSError), open(self.directory / "log.txt", "a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} [{os.getpid()}] {text}\n")

    def _check_stars(self) -> None:
        path = self.directory / self._source.path
        if open_catalog(path, columns=self._source.columns).digest() != self._source.digest:
            raise ValueError(
                f"Expected the stars that the search began with, {path} has changed since; put it back as it was, or "
                "make a new search."
            )

    def _record(self, number: int) -> dict[str, Any]:
        """What is told of a patch in this search; empty if nothing is, or nothing that can be read."""
        told = _record(self.directory / f"{number:04d}.json")
        return told if told.get("task") == self._tasks[number] else {}

    def _tell(
        self, number: int, state: str, message: str, stars: int = 0, seconds: float = 0.0, empty: Sequence[Any] = ()
    ) -> str:
        told = {
            "state": state, "message": message, "stars": stars, "seconds": seconds, "memory_mb": _peak_memory_mb(),
            "first": not _searched, "sha256": _sha256(self._path(number)) if state == "finished" else "",
            "task": self._tasks[number], "empty": [[float(one) for one in strengths] for strengths in empty],
        }  # fmt: skip
        write_whole(self.directory / f"{number:04d}.json", json.dumps(told).encode())
        self._log(f"Patch {number}: {state}. {message}")
        return state

    def _state(self, number: int, *, verify: bool = True) -> str:
        """Of a patch; what cannot be used is set aside if it is verified.

        A scan without a record counts for nothing: it was cut off before that was written, or tells of other stars.
        """
        path, told = self._path(number), self._record(number)
        state = told.get("state", "waiting")
        if state != "finished":
            return state
        if not path.exists():
            return "waiting"
        if verify and told["sha256"] != _sha256(path):  # its own checksums leave out its metadata
            self._log(f"Patch {number}: {path} is damaged. It is set aside, and the patch searched again.")
            set_aside(path)
            (self.directory / f"{number:04d}.json").unlink(missing_ok=True)
            return "waiting"
        return state

    def _stars(self, number: int) -> Catalog:
        """Of the circle of a patch."""
        patch = self.patches[number]
        large = _opened(str(self.directory / self._source.path), self._source.columns, self._source.digest)
        return large.around(patch.center, patch.radius)

    def _progress(self, state: str, states: Mapping[int, str], workers: int | None = None) -> SkyProgress:
        counts = {name: list(states.values()).count(name) for name in ("finished", "refused", "failed")}
        left = len(states) - counts["finished"] - counts["refused"]
        records = {number: self._record(number) for number in states}
        took = [told["seconds"] for told in records.values() if told.get("state") == "finished"]
        remaining = left * float(np.mean(took)) / min(workers, left) if took and left and workers else None
        last = next((records[n].get("message", "") for n, s in states.items() if s == "failed"), "")
        message = f"{counts['finished']} searched, {counts['refused']} cannot be searched, {counts['failed']} failed."
        return SkyProgress(
            state, f"{message} {last}".strip(), counts["finished"] + counts["refused"], len(states), counts["refused"],
            counts["failed"], remaining,
        )  # fmt: skip

    def _search(self, left, states, client, workers: int, on_progress: OnSky) -> str:
        with _workers(client, workers) as (submit, check):
            # The time is there because Dask would take equal calls for one.
            waiting = {submit(search, str(self.directory), number, time.time_ns()): number for number in left}
            again: list[tuple[float, int]] = []
            told = time.monotonic()
            try:
                while waiting or again:
                    check()
                    for future in [future for future in waiting if future.done()]:
                        number = waiting.pop(future)
                        try:
                            states[number] = future.result()
                        except Exception as error:  # the worker died, or could not begin
                            states[number] = self._tell(number, "failed", checks.sentence(error))
                        # Another run is at it; or it was asked to stop, which another run may have taken back.
                        if states[number] in ("busy", "cancelled"):
                            again.append((time.monotonic() + POLL, number))
                    due = [number for when, number in again if when <= time.monotonic()]
                    again = [(when, number) for when, number in again if when > time.monotonic()]
                    waiting |= {submit(search, str(self.directory), n, time.time_ns()): n for n in due}
                    if on_progress is not None and time.monotonic() - told >= POLL:
                        told = time.monotonic()
                        if on_progress(self._progress("running", states, workers)) is False:
                            self.cancel()
                            break
                    if self._asked.exists():
                        break
                    time.sleep(POLL / 20)
            except BaseException:
                self.cancel()
                raise
            finally:
                for future in waiting:
                    future.cancel()
        if waiting or again:
            return "cancelled"
        return "failed" if "failed" in states.values() else "finished"


def scan_sky(
    stars, directory, patches: Sequence[Patch] | None = None, config: ScanConfig | None = None, *, client: Any = None,
    workers: int = 2, on_progress: OnSky = None, zones: Sequence[Patch] = CLOUDS, fewest: int = 1000,
    merge: MergeConfig = AS_PUBLISHED, empty: int = 0,
) -> SkyScan:  # fmt: skip
    """Search patches of the sky for streams, or go on where a run was stopped: `SkyScan.create` and `SkyScan.run`.

    The processes on this machine import the script that begins them, so it has to have the call below
    ``if __name__ == "__main__":``; a notebook or a prompt needs no such line, and nor does a ``client``.

    Example:
        >>> if __name__ == "__main__":  # doctest: +SKIP
        ...     sky = scan_sky("gaia", "search", tile_sky())
        ...     sky.candidates()
    """
    _refuse_in_import(client)
    sky = SkyScan.create(directory, stars, patches, config, zones=zones, fewest=fewest, merge=merge, empty=empty)
    sky.run(client=client, workers=workers, on_progress=on_progress)
    return sky


def search(directory, number: int, unique: int = 0) -> str:
    """Search one patch, unless it is done or somebody else does: what workers run.

    Args:
        directory: of the search.
        number: of the patch.
        unique: not used; it tells one call from another.

    Returns:
        "finished", "refused", "failed", "cancelled", or "busy" if another run is at it.
    """
    sky = SkyScan(directory)
    if sky._asked.exists():
        return "cancelled"
    with only_one(sky.directory / f"{number:04d}.lock") as free:
        if not free:
            return "busy"
        for partial in sky.directory.glob(f".{number:04d}.*.partial"):  # of runs that were killed
            partial.unlink(missing_ok=True)
        if (state := sky._state(number)) in _SETTLED:
            return state
        began, stars = time.monotonic(), 0
        try:
            found = sky._stars(number)
            stars = len(found)
        except NoStars as error:
            return sky._tell(number, "refused", checks.sentence(error))
        except Exception as error:
            _opened.cache_clear()  # what it knows of the files may be out of date
            sky._log(traceback.format_exc())
            return sky._tell(number, "failed", checks.sentence(error))
        try:
            inside = sky.patches[number].of(found, without=sky.zones, fewest=sky.fewest)
            stars = len(inside)
            check_identifiers(inside["source_id"])
        except ValueError as error:
            return sky._tell(number, "refused", checks.sentence(error), stars)
        try:
            stopped: list[bool] = []

            def going(_) -> bool:
                stopped.extend([True] * sky._asked.exists())
                return not stopped

            scan = scan_patch(inside, sky.config, on_progress=going)
            if scan.stopped != "finished":
                return "cancelled"
            empty: tuple[np.ndarray, ...] = ()
            if sky.empty:
                empty = null_scans(inside, sky.config, n=sky.empty, scan=scan, on_progress=going).strengths
                if stopped:
                    return "cancelled"
            scan.save(sky._path(number), overwrite=True)
        except Exception as error:  # the other patches may be well
            if isinstance(error, ValueError) and _refuses(inside, sky.config):
                return sky._tell(number, "refused", checks.sentence(error), stars)
            sky._log(traceback.format_exc())
            full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            said = f"Expected room for a scan in {sky.directory}, the disk is full; free some and run again."
            return sky._tell(number, "failed", said if full else checks.sentence(error), stars)
        state = sky._tell(number, "finished", scan.message, stars, time.monotonic() - began, empty)
        _searched.append(number)
        return state


def _refuses(stars: Catalog, config: ScanConfig) -> bool:
    """Whether these stars cannot be searched however often that is tried, which a search says before it begins."""
    try:
        view_of(stars, config)
    except ValueError:
        return True
    if config.method is None:
        return False
    for scan in SCANS:
        with suppress(ValueError):
            signal_regions(stars, scan, width=config.width, step=config.step, fewest=fewest_of(stars))
            return False
    return True


# ---- the stars -------------------------------------------------------------------------------------------------------


def _source(directory: Path, stars: Any, columns: Sequence[str]) -> _Source:
    """Where the stars are read from, after they were written to the directory if need be."""
    inside = directory / "stars"
    if isinstance(stars, str | os.PathLike):
        path = checks.full_path(stars)
        stars = _read(path)
        if isinstance(stars, LargeCatalog):
            there = _there(stars.head(), columns)
            if "source_id" in there:
                return _Source(str(path), there, open_catalog(path, columns=there).digest())
    one = stars if isinstance(stars, Catalog) else stars.head()
    there = _there(one, columns)
    directory.mkdir(parents=True, exist_ok=True)
    with unfinished(inside) as new:
        if isinstance(stars, Catalog):
            _write_pieces(stars.only(there), new)
        else:
            _write_batches(stars, there, new)
        there = tuple(dict.fromkeys((*there, "source_id")))
        source = _Source("stars", there, open_catalog(new, columns=there).digest())
        if not inside.exists():
            with suppress(OSError):  # another run was faster
                new.rename(inside)
    if open_catalog(inside, columns=there).digest() != source.digest:
        raise FileExistsError(
            f"Expected a new directory, got {directory}, which holds a search of other stars; choose another."
        )
    return source


def _check_free(directory: Path, tasks: Sequence[str] | None = None) -> None:
    """In a directory without a plan there is nothing, or what this search left: of some search, until its tasks are
    known.

    Raises:
        FileExistsError: if there is something else that would be overwritten or taken for its own.
    """
    names = sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
    left = [name for name in names if re.fullmatch(r"candidates\.ecsv|\d{4}\.(json|scan\.parquet)", name)]
    told = {int(name[:4]): _record(directory / name) for name in left if name.endswith(".json")}
    known = {number: record["task"] for number, record in told.items() if record}
    if left and (
        not known or (tasks is not None and any(dict(enumerate(tasks)).get(n) != t for n, t in known.items()))
    ):
        raise FileExistsError(
            f"Expected a new directory, or one with the rest of this search, got {directory}, which holds {left[0]} of "
            "something else; choose another, or move that away."
        )


def _record(path: Path) -> dict[str, Any]:
    """What is told of a patch; empty if nothing is, or nothing that can be read."""
    try:
        told = checks.strict_json(path.read_bytes())
        return {name: kind(told[name]) for name, kind in _RECORD.items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _tasks_of(plan: Mapping[str, Any]) -> list[str]:
    """For each patch what recognises all that its scan depends on."""
    same = [plan["data"]["digest"], *(plan[name] for name in ("zones", "fewest", "empty", "config"))]
    return [hashlib.sha256(json.dumps([patch, *same]).encode()).hexdigest()[:16] for patch in plan["patches"]]


def _read(path: Path) -> Catalog | LargeCatalog:
    if path.is_dir() and (path / HEADER).is_file():
        return load_prepared(path)
    if path.is_dir() or path.suffix in (".parquet", ".pq") or not path.exists():  # a pattern, or nothing
        return open_catalog(path)
    return read_catalog(path)


def _there(stars: Catalog, columns: Sequence[str]) -> tuple[str, ...]:
    stars.require(_NEEDED)
    if "source_id" in stars:
        check_identifiers(stars["source_id"])
    return tuple(name for name in dict.fromkeys(columns) if name in stars)


def _write_pieces(stars: Catalog, folder: Path) -> None:
    """Each piece of the sky as a file, so that a patch needs to read few."""
    if "source_id" not in stars:
        stars = stars.with_columns({"source_id": np.arange(len(stars))})
    ra, dec = (np.nan_to_num(np.asarray(stars[name], float)) for name in ("ra", "dec"))
    row = np.clip((dec + 90) // _CELL, 0, 180 // _CELL - 1).astype(int)
    across = np.maximum(1, (360 / _CELL * np.cos(np.deg2rad((np.arange(180 // _CELL) + 0.5) * _CELL - 90))).astype(int))
    column = (ra % 360 / 360 * across[row]).astype(int)
    piece = row * int(360 / _CELL) + column
    for number in np.unique(piece):
        stars.take(piece == number).write(folder / f"{number:06d}.parquet")


def _write_batches(stars: LargeCatalog, columns: Sequence[str], folder: Path) -> None:
    first = 0
    for count, batch in enumerate(stars):
        batch = batch.only(columns)
        if "source_id" not in columns:
            batch = batch.with_columns({"source_id": first + np.arange(len(batch))})
        check_identifiers(batch["source_id"])
        batch.write(folder / f"{count:06d}.parquet")
        first += len(batch)


@lru_cache(maxsize=4)
def _opened(path: str, columns: tuple[str, ...], digest: str) -> LargeCatalog:
    """The catalogue of a worker, which looks through many files once; of other files if the digest is another."""
    return open_catalog(path, columns=columns)


# ---- the workers -----------------------------------------------------------------------------------------------------


_GUARD = (
    'put what runs the search in a script below if __name__ == "__main__":, since its workers import the script first '
    "(what they said stands above)."
)


def _refuse_in_import(client: Any) -> None:
    """A worker that imports the script of its run must not begin a run of its own.

    Raises:
        RuntimeError: there; not in processes that are past that, such as the workers of somebody else.
    """
    if client is None and getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError(f"Expected a search by the process that began, got one by a worker of it; {_GUARD}")


@contextmanager
def _workers(client: Any, workers: int) -> Iterator[tuple[Callable[..., Any], Callable[[], None]]]:
    """How to submit work, and what raises if nobody will ever do it; our own workers are killed in the end, whatever
    they are at.
    """
    if hasattr(client, "submit"):
        yield client.submit, lambda: None
        return
    try:
        import distributed
    except ImportError:
        raise ImportError(
            "Expected Dask's distributed for the workers, got none; install clearview-galaxy[dask], or pass a client "
            "with submit."
        ) from None
    if client is not None:
        with distributed.Client(client) as made:
            yield made.submit, lambda: None
        return
    own: Any = distributed.LocalCluster
    cluster = own(
        n_workers=0, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=None, silence_logs=50
    )
    made = distributed.Client(cluster, set_as_default=False)

    def kill() -> None:
        for nanny in list(cluster.workers.values()):
            nanny.auto_restart = False
            if (process := nanny.pid) is not None:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)

    began, came = time.monotonic(), []

    def check() -> None:
        if came or cluster.scheduler.workers:
            came.append(True)
            return
        nannies = list(cluster.workers.values())
        if (nannies and all(nanny.status.name == "failed" for nanny in nannies)) or time.monotonic() - began > PATIENCE:
            raise RuntimeError(f"Expected workers of this run, got none of {workers} that began; {_GUARD}")

    def close() -> None:
        with suppress(Exception):  # nobody waits for what it may say of workers that were killed
            made.close()
            cluster.close()

    try:
        cluster.scale(workers)  # does not wait until they are there
        yield made.submit, check
    finally:
        kill()  # what they have done is on the disk; asked to end, they take seconds
        threading.Thread(target=close, daemon=True, name="clearview-workers").start()


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _peak_memory_mb() -> float:
    """Largest resident size of this process so far, MB."""
    scale = 1 / 1024**2 if sys.platform == "darwin" else 1 / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def cost_of(records: Sequence[Mapping[str, Any]], patches: float, workers: float, stars: int | None = None) -> Cost:
    """A straight line through the seconds of patches against their stars, with smallest relative residuals; no part of
    it is below 0.

    Args:
        records: each with ``seconds``, ``stars``, ``memory_mb``, and ``first``, whether it was a worker's first.
        patches: of the search asked for.
        workers: of it.
        stars: of a patch of it, by default the mean of the records.

    Raises:
        ValueError: without records.
    """
    if not records:
        raise ValueError("Expected at least one patch that was searched, got none; run the search first.")
    seconds, counts, first = (np.array([float(one[name]) for one in records]) for name in ("seconds", "stars", "first"))
    told = np.stack([first, np.ones_like(counts), counts], 1)
    told[:, 1] *= len(np.unique(counts)) > 1  # patches of one size tell of no more than a proportion
    start, fixed, slope = (float(value) for value in nnls(told / seconds[:, None], np.ones_like(seconds))[0])
    each = fixed + slope * (float(counts.mean()) if stars is None else checks.number("stars", stars, 0))
    most = max(float(one["memory_mb"]) for one in records)
    return Cost(len(records), start, fixed, slope, most, (start + each * np.ceil(patches / workers)) / 3600)


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0 if the search is finished."""
    parser = argparse.ArgumentParser(
        prog="python -m clearview.streams.allsky", description="Run a search, or tell where it stands."
    )
    parser.add_argument("do", choices=["run", "status"])
    parser.add_argument("directory")
    parser.add_argument("--workers", type=int, default=2, help="processes on this machine")
    parser.add_argument("--scheduler", default=None, help="address of a Dask scheduler instead")
    given = parser.parse_args(arguments)

    def told(progress: SkyProgress) -> None:
        print(f"\r{progress.done} of {progress.total} patches", end="", flush=True)

    try:
        sky = SkyScan(given.directory)
        if given.do == "run":
            show = told if sys.stdout.isatty() else None
            progress = sky.run(client=given.scheduler, workers=given.workers, on_progress=show)
        else:
            progress = sky.status
        print(progress)
        with suppress(ValueError):  # of no patch yet
            print(f"200 patches on {given.workers} such workers: {sky.estimate(200, given.workers)}.")
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        print(checks.sentence(error), file=sys.stderr)
        return 1
    return 0 if progress.state == "finished" else 1


if __name__ == "__main__":  # under its own name, by which workers find `search`
    from clearview.streams.allsky import main as run

    sys.exit(run())
