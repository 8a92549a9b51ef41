"""Catalogues larger than memory: read in batches, cut and turned on the way, and kept as columns on the disk."""

import hashlib
import json
import pickle
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import vstack

import clearview
from clearview.checks import a, number, path_of
from clearview.units import Sun

from .catalog import Catalog
from .columns import (
    ColumnError,
    canonical_names,
    choose_columns,
    wanted_columns,
)
from .frames import GreatCircle, separation, sky_point
from .partitions import ParquetPart, check_alike, dask_parts, parquet_parts
from .prepared import HEADER, Out, Written, header_of, load_prepared, unfinished
from .select import Cut, CutReport, NoStars, check_left, flat

OnProgress = Callable[[int, int], object] | None
"""Called with (done, total), rows of the files or partitions of a Dask object; returning False cancels."""

_FRAMES = ("sun", "distance", "patch", "stream")  # what columns of one meaning have to share


class LargeCancelled(RuntimeError):
    """A pass over a large catalogue was cancelled; nothing of it is kept."""


def open_catalog(
    path: Any,
    *,
    names: Mapping[str, str] | None = None,
    units: Mapping[str, str] | str | None = None,
    columns: Iterable[str] | None = None,
    frame: str = "clearview",
) -> "LargeCatalog":
    """Opens a catalogue that need not fit into memory; nothing but the names of its columns is read yet.

    Args:
        path: a Parquet file, several, a folder of them, a pattern such as ``"gaia/*.parquet"``, the folder of a HATS
            catalogue, or a Dask DataFrame or LSDB catalogue (whatever has ``columns`` and ``to_delayed()``).
        names, units, columns, frame: as `clearview.read_catalog` takes them.

    Raises:
        FileNotFoundError: if there is no such file or partition.
        KeyError: if a column that was asked for is not in it.
        TypeError: if ``path`` is nothing of the kind.
        ValueError: if a file cannot be read, or has other columns, types or units than the first, or there are no rows.
    """
    wanted = wanted_columns(columns)
    if hasattr(path, "to_delayed"):
        chosen, names, units = choose_columns(map(str, path.columns), wanted, names, units)
        parts = dask_parts(path if wanted is None else path[chosen])
        file = {"name": type(path).__name__, "format": "Dask", "files": len(parts)}
    else:
        files, file = parquet_parts(path)
        chosen, names, units = choose_columns(files[0].columns, wanted, names, units)
        for part in files:
            check_alike(part, files[0], chosen if wanted else {**files[0].kinds, **part.kinds})
        parts = [replace(part, columns=tuple(chosen)) for part in files if part.rows]
        if not parts:
            raise ValueError(f"Expected a catalogue with at least one star, got none in {file['name']}; check it.")
        file |= {"rows": sum(part.rows for part in parts), "bytes": sum(part.size for part in parts)}
    canonical_names(chosen, names)  # refuses two columns of one name now
    return LargeCatalog(tuple(parts), (names, units, frame, file))


class _Tally:
    """The reports of batches, or the histories of files, as one: what each cut removed is added up.

    The cuts come in an order that goes with all; if there is none, since files were cut in other orders, in that in
    which they are first met.
    """

    def __init__(self):
        self.stars, self.counts, self.behind = 0, {}, {}

    def add(self, stars: int, reports: Iterable[CutReport]) -> None:
        self.stars += stars
        met, last = Counter(), {}
        for report in reports:
            cut = report.name, met[report.name]  # the same cut may come again
            met[report.name] += 1
            removed, lost = self.counts.get(cut, (0, 0))
            self.counts[cut] = removed + report.removed, lost + report.nonfinite
            self.behind.setdefault(cut, {}).update(last)
            last = {cut: None}

    def reports(self, quiet: bool) -> list[CutReport]:
        try:
            order = list(TopologicalSorter(self.behind).static_order())
        except CycleError:
            order = list(self.counts)
        found, before = [], self.stars
        for cut in order:
            removed, lost = self.counts[cut]
            if removed or not quiet:
                found.append(CutReport(cut[0], before, before - removed, lost))
            before -= removed
        return found


class LargeCatalog:
    """Stars in files or partitions, of which a batch at a time is in memory; `open_catalog` makes one.

    It does not change: `select`, `to_galactocentric` and their like give another one that does so to each batch, as the
    methods of `Catalog` of these names do to all stars. Iterating gives the batches, each a `Catalog`; `prepare` goes
    over them once and gives a `Catalog` whose columns stay on the disk.

    Attributes:
        rows: of all files, before any cut; of a Dask object the number of partitions.
    """

    def __init__(self, parts: tuple[Any, ...], told: tuple[Any, ...], steps: tuple[tuple[str, tuple, dict], ...] = ()):
        self._parts, self._told, self._steps = parts, told, steps
        self.rows = sum(part.rows for part in parts)

    def select(self, *cuts: Cut | Sequence[Cut]) -> "LargeCatalog":
        """With the stars that pass all cuts; see `Catalog.select`.

        Raises:
            TypeError: if something is not a cut.
            ValueError: for a cut that compares stars with each other, which a batch does not know of all.
        """
        for cut in flat(cuts):
            if cut.relative:
                raise ValueError(
                    f"Expected cuts that look at each star alone, got {cut}, which compares stars; apply it to what "
                    "prepare() gives."
                )
        return self._and("select", *cuts)

    def to_galactocentric(self, sun: Sun | str | None = None, distance: str | None = None) -> "LargeCatalog":
        """With x, y, z, vx, vy, vz; see `clearview.catalogs.to_galactocentric`."""
        return self._and("to_galactocentric", sun, distance)

    def to_patch(self, center: tuple[float, float]) -> "LargeCatalog":
        """With lon, lat, pm_lon, pm_lat around ``center`` (ra, dec); see `clearview.catalogs.to_patch`."""
        return self._and("to_patch", center)

    def to_stream(self, stream: str | GreatCircle = "GD-1", *, reflex_distance: float | None = None) -> "LargeCatalog":
        """With phi1, phi2, pm_phi1, pm_phi2 along a stream; see `clearview.catalogs.to_stream`."""
        return self._and("to_stream", stream, reflex_distance=reflex_distance)

    def _and(self, method: str, *given: Any, **named: Any) -> "LargeCatalog":
        return LargeCatalog(self._parts, self._told, (*self._steps, (method, given, named)))

    def __iter__(self) -> Iterator[Catalog]:
        """The batches that have stars left, in the order of the files.

        Raises:
            FileNotFoundError: if a file has vanished since.
            ValueError: if one cannot be read, has changed since or does not go with the others, or no star is left.
        """
        return iter(_Pass(self))

    def head(self) -> Catalog:
        """The first batch that has stars left, to look at."""
        return next(islice(self, 1))

    def around(self, center: tuple[float, float], radius: float) -> Catalog:
        """The stars within ``radius`` [deg] of ``center`` (ra, dec) [deg], in memory.

        Parquet files that by their own word (the least and largest ra and dec in their statistics) have none there are
        not read, so that a part of a catalogue whose files are pieces of the sky, as those of HATS, is found quickly.

        Raises:
            KeyError: without ra or dec.
            ValueError: if no star is there, and as iterating does.
        """
        center = sky_point(center, "center")
        number("radius", radius, 0, 180)
        parts = tuple(part for part, box in zip(self._parts, self._boxes, strict=True) if _meets(box, center, radius))
        going, tables = _Pass(LargeCatalog(parts, self._told, self._steps)), []
        for batch in going if parts else ():
            batch.require(("ra", "dec"))
            keep = separation(center, batch["ra"], batch["dec"]) <= radius
            if keep.any():
                tables.append(batch.take(keep)._table)
        if not tables:
            raise NoStars(
                f"Expected stars within {radius:g} deg of ra, dec = {center[0]:g}, {center[1]:g}, got none; choose "
                "another place.", going.report,
            )  # fmt: skip
        whole = vstack(tables, join_type="exact", metadata_conflicts="silent")
        return Catalog(whole, meta=going.meta, report=going.report)

    @cached_property
    def _boxes(self) -> list[tuple[tuple[float, float], tuple[float, float]]]:
        """Of each part the bounds of ra and dec, deg; infinite where they are not known."""
        everywhere = (-np.inf, np.inf), (-np.inf, np.inf)
        files = [part for part in self._parts if isinstance(part, ParquetPart)]
        called = (
            {n: (own, unit) for own, (n, unit) in canonical_names(files[0].columns, self._told[0]).items()}
            if files
            else {}
        )
        # Bounds in another unit would be no bounds.
        sure = not isinstance(self._told[1], Mapping) and all(
            name in called and (files[0].kinds[called[name][0]][1] or "deg") in ("deg", "degree", "degrees")
            and called[name][1] in (None, u.deg) for name in ("ra", "dec")
        )  # fmt: skip
        if not sure:
            return [everywhere for _ in self._parts]
        return [
            (part.bounds(called["ra"][0]), part.bounds(called["dec"][0]))
            if isinstance(part, ParquetPart)
            else everywhere
            for part in self._parts
        ]

    def digest(self) -> str:
        """16 hexadecimal digits that recognise Parquet files by their names, sizes and the statistics at their ends.

        Raises:
            TypeError: for partitions of Dask, of which nothing is known before they are computed.
            ValueError: as iterating does.
        """
        sha = hashlib.sha256()
        for part in self._parts:
            a(part, ParquetPart, "Parquet files")
            sha.update(f"{part.label} {part.size} ".encode() + part.end())
        return sha.hexdigest()[:16]

    def prepare(
        self, folder: str | Path, *, columns: Iterable[str] | None = None, on_progress: OnProgress = None
    ) -> Catalog:
        """Goes over all stars once and keeps the columns as files, which the catalogue it gives reads as they are used.

        That is an ordinary `Catalog`, the same as if all stars had been read into memory, down to its digest; maps are
        learnt from it and panels show it in little memory. What makes new columns or picks most of the stars puts them
        into memory: cut before. The folder is there when all is written; if a run is stopped, the next begins again.

        Args:
            folder: for the files, 24 bytes a star and the columns' own. If it was prepared from the same files in the
                same way, it is taken as it is.
            columns: those to keep; by default all of numbers.
            on_progress: called with (done, total); returning False cancels.

        Raises:
            FileExistsError: if something else is in the folder.
            KeyError: if a column is not there.
            LargeCancelled: if it was cancelled.
            OSError: if the disk is full.
            TypeError: if ``folder`` is no path.
            ValueError: as iterating does; and if phase space is not finite, or a column has no numbers.
        """
        folder, keep = path_of(folder), wanted_columns(columns)
        key = self._key(keep)
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
            if header_of(folder).get("key") != key:
                raise FileExistsError(
                    f"Expected a new folder or one prepared from the same files in the same way, got {folder}, which "
                    "is another; name a new one, or delete it."
                )
            return load_prepared(folder)
        if not folder.absolute().parent.is_dir():
            raise FileNotFoundError(
                f"Expected a folder to write to, got {folder.parent}, which is none; make it first."
            )
        with unfinished(folder) as new:
            with ExitStack() as stack:
                written = Written(new, keep, stack)
                going = _Pass(self, on_progress)
                for batch in going:
                    with _named(going.label):
                        written.add(batch)
                header = written.finish() | {"key": key, "meta": going.meta, "report": going.report}
                file = Out(new / HEADER, stack)
                file.put(json.dumps(header).encode())
                file.finish()
            if folder.exists():
                folder.rmdir()
            new.replace(folder)
        return load_prepared(folder)

    def _key(self, columns) -> str:
        """Recognises the files and all that is done with them."""
        files = [(p.label, p.size, p.changed, p.columns) for p in self._parts if isinstance(p, ParquetPart)]
        if len(files) == len(self._parts) and all(_known(one) for _, given, _ in self._steps for one in given):
            done = clearview.__version__, files, self._told, self._steps, columns
            with suppress(Exception):  # of a cut that cannot be pickled
                return hashlib.sha256(pickle.dumps(done)).hexdigest()
        return uuid.uuid4().hex  # nor can what Dask computes or a user's own cut does be recognised

    def __repr__(self):
        name = self._told[3]
        of = "partitions" if name["format"] == "Dask" else "stars"
        steps = ""
        for method, given, named in self._steps:
            words = [repr(one) for one in given if one is not None]
            words += [f"{key}={value!r}" for key, value in named.items() if value is not None]
            steps += f"\n  then: {method}({', '.join(words)})"
        return f"LargeCatalog of {self.rows:,} {of} in {name['name']} ({name['format']}), not in memory{steps}"


class _Pass:
    """One pass over the batches of a catalogue; ``meta`` and ``report`` are those of all stars in the end."""

    def __init__(self, large: LargeCatalog, on_progress: OnProgress = None):
        self.large, self.on_progress, self.label = large, on_progress, ""
        self.meta: Any = None
        self._history, self._tallies = _Tally(), [_Tally() for _ in large._steps]

    @property
    def report(self) -> list[CutReport]:
        # As in memory, select tells of each cut, the others only of those that removed stars.
        told = (t.reports(step[0] != "select") for t, step in zip(self._tallies, self.large._steps, strict=True))
        return [*self._history.reports(False), *(report for reports in told for report in reports)]

    def __iter__(self) -> Iterator[Catalog]:
        done = 0
        self._tell(done)
        for part in self.large._parts:
            self.label, rows = part.label, 0
            for raw in part.tables():
                with _named(self.label):
                    batch = Catalog._of_raw(raw, *self.large._told)
                    if not rows:
                        before = batch.report[0].before if batch.report else part.rows
                        self._history.add(before, batch.report)
                    rows += len(raw)
                    batch = self._stepped(batch)
                    if batch is not None:
                        self._compare(batch.meta)
                if batch is not None:
                    yield batch
                if isinstance(part, ParquetPart):
                    self._tell(done + rows)
            done += part.rows
            self._tell(done)
        if self.meta is None:
            check_left(self.report)
            raise ValueError(
                "Expected a catalogue with at least one star, got none in its partitions; check the query."
            )

    def _stepped(self, batch: Catalog) -> Catalog | None:
        for tally, (method, given, named) in zip(self._tallies, self.large._steps, strict=True):
            stars, known = len(batch), len(batch.report)
            if not tally.counts and method != "select":
                tally.add(0, _order(batch, method, given, named))
            try:
                batch = getattr(batch, method)(*given, **named)
            except NoStars as none:
                tally.add(stars, none.reports)
                return None
            tally.add(stars, batch.report[known:])
        return batch

    def _compare(self, meta: dict[str, Any]) -> None:
        """Keeps of the meta what all batches share."""
        self.meta = meta if self.meta is None else self.meta
        for name in _FRAMES:
            one, other = self.meta.get(name), meta.get(name)
            if one != other and _suns(one, name) != _suns(other, name):
                raise ValueError(f"Expected {name} in the meta as in the first file, got another; prepare them apart.")
        self.meta = {name: value for name, value in self.meta.items() if name in _FRAMES or meta.get(name) == value}

    def _tell(self, done: int) -> None:
        if self.on_progress is not None and self.on_progress(done, self.large.rows) is False:
            raise LargeCancelled(
                f"Expected to go over all stars, was cancelled after {done:,}; call again to begin anew."
            )


def _meets(box, center: tuple[float, float], radius: float) -> bool:
    """Whether a box in ra and dec may have places of a circle on the sky, deg."""
    (ra0, ra1), (dec0, dec1) = box
    ra, dec = center
    if not (dec0 <= dec + radius and dec1 >= dec - radius):
        return False
    if abs(dec) + radius >= 90:
        return True
    reach = np.rad2deg(np.arcsin(np.sin(np.deg2rad(radius)) / np.cos(np.deg2rad(dec))))
    return any(ra0 <= ra + reach + turn and ra1 >= ra - reach + turn for turn in (-360, 0, 360))


def _order(batch: Catalog, method: str, given: Any, named: Any) -> list[CutReport]:
    """All that a step looks for, in its order, which its reports of batches may each tell a part of.

    What removed nothing is left out of them, but told where no star is left: of a star without any finite value.
    """
    lacking = {name: u.Quantity([np.nan], unit) for name in batch.columns if (unit := batch.unit(name))}
    try:
        getattr(batch.take(np.arange(len(batch)) == 0).with_columns(lacking), method)(*given, **named)
    except NoStars as none:
        return [CutReport(report.name, 0, 0) for report in none.reports]
    return []


def _known(given: Any) -> bool:
    """Whether it stays what it is as long as ClearView does; a user's own cut may be edited under its name."""
    cuts = given if isinstance(given, list | tuple) else getattr(given, "cuts", ())
    ours = not isinstance(given, Cut) or type(given).__module__.startswith("clearview.")
    return ours and all(map(_known, cuts))


def _suns(value: Any, name: str = "") -> Any:
    """A part of the meta with its Suns as their numbers: older files tell no name of them."""
    if not isinstance(value, dict):
        return value
    return Sun.of(value) if name == "sun" else {key: _suns(inner, key) for key, inner in value.items()}


@contextmanager
def _named(label: str) -> Iterator[None]:
    """What is wrong with the stars of a batch, said with the file that they are from."""
    try:
        yield
    except ColumnError as problem:
        raise ColumnError(f"In {label}: {problem}") from None
    except ValueError as problem:
        raise ValueError(f"In {label}: {problem}") from problem
