"""The search of a patch for streams: sky, proper motions, colours and lines of one window, and what a scan found."""

import dataclasses
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, ClassVar

import holoviews as hv
import ipywidgets as W
import numpy as np
import pandas as pd

from clearview.catalogs import Catalog
from clearview.checks import a
from clearview.figures import (
    count_field,
    hough_image,
    line_path,
    path,
    points,
    star_points,
    text,
    track_path,
    window_path,
)
from clearview.figures.style import layers
from clearview.panels.columns import DOWNWARDS, label, turned
from clearview.panels.compare import FEW, Window, cells, in_windows, seen, select
from clearview.panels.controls import Choice, dropdown, sentence, slider, small, tick
from clearview.panels.outlines import SelectingPanel, chosen_image, chosen_points
from clearview.panels.selection import Selection
from clearview.panels.share import code_of
from clearview.panels.train import Learner, TrainBar, Work
from clearview.panels.view import RasterView
from clearview.panels.worker import Latest

MOTIONS = ("pm_lon", "pm_lat")
SKY = ("lon_cos_lat", "lat")
DIGEST = "lon", "lat", "pm_lon", "pm_lat"
NEEDED = ("ra", "dec", "pmra", "pmdec", *DIGEST)
"""Columns of a patch."""

METHODS = {"CWoLa": "Cwola", "ANODE": "Anode", "CATHODE": "Cathode", "none: counts alone": "none"}
"""How scores are told apart, and their classes."""

STEP = 0.25
"""Of the sliders of proper motion, mas/yr."""

MOST = 40_000
"""Of more stars than this, lines are looked for at rest only."""

BLANK = "\u00a0"
"""A space that a browser keeps."""


def streams():
    """`clearview.streams`, loaded when first used: JAX takes a second."""
    return import_module("clearview.streams")


@dataclasses.dataclass(frozen=True, eq=False)
class RegionScores:
    """The scores of one signal region, as a panel learns them.

    Attributes:
        region: the `clearview.streams.SignalRegion`.
        config: the `ScanConfig` that says how.
        ln_ratio: (N,) ln R of each star, NaN outside of the region.
        data_digest: of the stars.
        history: losses.
        message: in words.
        stars: in the region.
        stopped: "finished" or "cancelled".
    """

    region: Any
    config: Any
    ln_ratio: np.ndarray
    data_digest: str
    history: pd.DataFrame
    message: str
    stars: int
    stopped: str
    columns: tuple[str, ...] = DIGEST

    @property
    def title(self) -> str:
        """As it stands among the runs."""
        return f"{type(self.config.method).__name__}, {_words(self.region)}"


@dataclasses.dataclass(frozen=True, eq=False)
class _Search:
    """A scan, as a bar keeps it."""

    scan: Any
    columns: tuple[str, ...] = DIGEST

    config = property(lambda self: self.scan.config)
    data_digest = property(lambda self: self.scan.digest)
    message = property(lambda self: self.scan.message)
    stars = property(lambda self: self.scan.stars)
    stopped = property(lambda self: self.scan.stopped)
    history = property(lambda self: pd.DataFrame())
    title = property(lambda self: f"{len(self.scan.candidates)} candidates")


class StreamPanel(SelectingPanel):
    """The stars of a patch in a window of both proper motions: on the sky, with their lines, and the scan of all.

    The signal region is a window of one proper motion, that is scanned; another window is of the other. The picture of
    lines says for every line of the sky how many stars lie along it, against what lies beside it, in σ; a few σ among
    thousands of lines are no finding. *Train* scores the stars of the signal region under the slider, *Scan* looks
    for streams in the whole patch, and a candidate that is chosen is drawn in all views.

    Args:
        catalog: the stars of a `clearview.Patch`.
        config: a `clearview.ScanConfig`; by default its defaults, without cuts in colours that the stars do not have.
        scan: what a scan of these stars found, a `clearview.streams.Scan`.
        selection: the `Selection` to share with other panels; by default one of its own.
        size: longer side of each plot, CSS pixels.
        threaded: False draws, trains and scans at once in the calling thread.

    Attributes:
        scanner: the `TrainBar` that scans.

    Raises:
        KeyError: if the stars have no place or motion in a patch.
        ValueError: if the scan is one of other stars.
    """

    tags = ("scanned", "center", "width", "other", "other_width", "stars", "top", "candidate")
    given: ClassVar = {"config": "_told_config", "scan": "found"}
    work: ClassVar = Work(file="", pausable=False)

    def __init__(
        self, catalog=None, config=None, scan=None, *, selection: Selection | None = None, size: int = 232,
        threaded: bool = True,
    ):  # fmt: skip
        a(selection, (Selection, type(None)), "a Selection")
        if catalog is not None:
            a(catalog, Catalog, "a Catalog").require(NEEDED)
        config = self._defaults(catalog) if config is None else a(config, streams().ScanConfig, "a ScanConfig")
        if scan is not None and catalog is not None:
            _same(scan, catalog)
        self._methods: dict[str, Any] = {}
        self._reach = config.reach
        self._of: Any = (None, None)
        self._kept = _Kept(None, "")
        self._mine: Any = None
        self._known_fit: Any = None
        self._listed: Any = None
        self._chosen_before: int | None = None
        self.scanner = TrainBar(
            catalog, config, learner=self._scans, usable=lambda fit: True, changed=self._rescanned,
            say=lambda slot, what, **how: self._say(f"scan {slot}", what, **how), threaded=threaded,
            work=Work("Scan", "scan", "scan", "scan.parquet", pausable=False, form=False),
        )  # fmt: skip
        if scan is not None:
            self.scanner.adopt(_Search(scan))
        self._start = config
        self._clears = Latest(
            self._clear, lambda error: self._say("clear", error), rest=0.5, threaded=threaded
        )  # fmt: skip
        super().__init__(catalog, config=config, selection=selection, size=size, threaded=threaded)

    # ---- controls ------------------------------------------------------------------------------------------------

    def build(self) -> dict[str, Any]:
        config, reach = self._start, self._reach
        wide = min(config.width, 2 * reach)
        self.views = (self.view, *(RasterView(self.view.width) for _ in range(3)))
        controls: dict[str, Any] = {
            "scanned": dropdown("Scanned", [(label(n), n) for n in MOTIONS], MOTIONS[0]),
            "center": slider("", -4.0, -reach, reach, STEP),
            "width": slider("width [mas/yr]", wide, STEP, 2 * reach, STEP),
            "other": slider("", 0.0, -reach, reach, STEP),
            "other_width": slider("width [mas/yr]", 2 * reach, STEP, 2 * reach, STEP),
            "stars": Choice(("fiducial", "all")),
            "known": tick("known streams of these motions", False),
            "method": dropdown("Scores by", METHODS, "none"),
            "best": tick("only stars of highest score", False),
            "top": slider("so many", 100, 10, 1000, 10, readout_format=".0f"),
            "candidate": W.Select(options=[("no candidate", None)], rows=6, layout=W.Layout(width="100%")),
        }
        self._head, self._note, self._cuts = W.HTML(), W.HTML(), W.HTML(layout=W.Layout(width="300px"))
        self.below = (self.selecting, self._note, self._head, controls["candidate"])
        controls["candidate"].add_class("cv-candidates")
        if config.method is not None:
            self._methods[type(config.method).__name__] = config.method
            controls["method"].value = type(config.method).__name__
        self._before_config = config
        sky, _, motions, colours = self.views
        self.outlines.add(sky, lambda: (SKY, self._windows(self.settings)))
        self.outlines.add(motions, lambda: (MOTIONS, ()))
        self.outlines.add(colours, lambda: (self._photometry() or (), self._windows(self.settings)))
        self.bar.elsewhere = lambda: "a scan" if self.scanner.training.running else ""
        self.scanner.elsewhere = lambda: "a training" if self.training.running else ""
        return controls

    def arrange(self) -> W.Widget:
        shown = [control for name, control in self.controls.items() if name != "candidate"]
        for control in shown:
            if hasattr(control.style if hasattr(control, "style") else None, "description_width"):
                control.style.description_width = "116px"
        shown.insert(shown.index(self.controls["stars"]) + 1, self._cuts)
        return self.in_columns([*shown, self.bar, self.scanner, self.share])

    def update(self) -> None:
        super().update()
        controls, config, catalog = self.controls, self._config, self.catalog
        if (catalog, config) != self._of:
            self._restock(catalog, config)
        method = "none" if config.method is None else type(config.method).__name__
        if config is not self._before_config:
            controls["method"].value = method
        elif controls["method"].value != method:
            name = controls["method"].value
            chosen = None if name == "none" else self._methods.get(name) or getattr(streams(), name)()
            self.bar.config = config = dataclasses.replace(config, method=chosen)
            self.bar.refresh()
        if config.method is not None:
            self._methods[type(config.method).__name__] = config.method
        self._before_config = config
        if (self.scanner.catalog, self.scanner.config) != (catalog, config):
            self.scanner.catalog, self.scanner.config = catalog, config
            self.scanner.refresh()
        controls["stars"].disable({"fiducial": self._kept.fiducial} if isinstance(self._kept.fiducial, str) else {})
        self._follow_fit()
        self._list()
        scanned = controls["scanned"].value
        for name, motion in (("center", scanned), ("other", _other(scanned))):
            controls[name].description = f"{label(motion)} [mas/yr]"
        scores = None if catalog is None else self._scores(self.settings)
        lacking = controls["best"].value and scores is None
        self.tell("scores", "There are no scores of this region yet: press Train." if lacking else "")
        controls["best"].disabled = scores is None and not controls["best"].value
        controls["top"].layout.display = "" if controls["best"].value else "none"
        self.views[3].layout.display = "" if catalog is None or self._photometry() else "none"
        if self.views[3].layout.display:
            self.views[3].clear()
        for view in (self.views[0], *self.views[2:]):
            view.tools = ["box", "lasso"] if catalog is not None else []

    def _restock(self, catalog, config) -> None:
        """Other stars, or other cuts: all that was kept of those before is let go."""
        if self._of[0] is not None and catalog is not self._of[0]:
            self._home()
        self._of = catalog, config
        self._cuts.value = small(_cuts(catalog, config.fiducial))
        try:
            fiducial = "There are no stars yet." if catalog is None else config.fiducial.select(catalog)
        except (KeyError, ValueError) as error:
            fiducial = sentence(error)
        self._kept = _Kept(catalog, fiducial)
        if isinstance(fiducial, np.ndarray):
            self._clears()

    def _clear(self, dragging: bool) -> bool:
        """Without globular clusters, which lie on lines at any angle; that takes seconds, so it has its own thread."""
        if dragging:  # not at rest yet
            return False
        catalog, config = self._of
        try:
            rows = streams().view_of(catalog, config).searched
        except ValueError:  # too few to look for any
            return True
        fiducial = np.zeros(len(catalog), bool)
        fiducial[rows] = True
        with self._lock:
            if self._closed or (catalog, config) != self._of:
                return True
            self._kept = _Kept(catalog, fiducial)
        self._draws()
        return True

    def _follow_fit(self) -> None:
        """A run that was chosen from the list takes the sliders to its region; one just trained leaves them."""
        fit: Any = self.fit
        if fit is self._known_fit:
            return
        self._known_fit, mine, self._mine = fit, self._mine, None
        if fit is not None and fit is not mine:
            self._to_region(fit.region)

    def _list(self) -> None:
        """The candidates, and why they may not be shown."""
        search: Any = self.scanner.fit
        scan: Any = self.found
        control = self.controls["candidate"]
        whole = search is not None and self.catalog is not None and not self._foreign()
        if (search, whole) != self._listed:
            self._listed = search, whole
            table = scan.candidates if whole else ()
            rows = [(_row(i, table[i]), i) for i in range(len(table))]
            before = control.value
            control.options = [("no candidate chosen" if rows else "no candidates yet", None), *rows]
            control.value = before if whole and before is not None and before < len(rows) else None
            control.rows = min(max(len(rows) + 1, 2), 8)
            self._head.value = _mono(_HEAD) if rows else ""
            foreign = search is not None and not whole
            self._note.value = small("The candidates are of other stars: scan again." if foreign else "")
            control.layout.display = "" if rows else "none"
        if control.value != self._chosen_before:
            self._chosen_before = control.value
            if control.value is not None:
                self._to_candidate(scan, control.value)

    def _to_region(self, region) -> None:
        self.controls["scanned"].value = region.scan
        self.controls["center"].value, self.controls["width"].value = region.middle, region.high - region.low

    def _to_candidate(self, scan, i: int) -> None:
        """Windows in which it stands out: the cell of its line, or the signal region of its scores."""
        row, controls = scan.candidates[i], self.controls
        scanned = next((n for n in MOTIONS if str(row["found_by"]).startswith(n)), controls["scanned"].value)
        scored = str(row["found_by"]).startswith(scanned)
        narrow = max(scan.config.cells)
        place = {n: float(np.clip(round(float(row[n]) / STEP) * STEP, -self._reach, self._reach)) for n in MOTIONS}
        controls["scanned"].value = scanned
        controls["center"].value, controls["other"].value = place[scanned], place[_other(scanned)]
        controls["width"].value = min(scan.config.width if scored else narrow, 2 * self._reach)
        controls["other_width"].value = min(narrow, 2 * self._reach)

    # ---- what one works with -------------------------------------------------------------------------------------

    @property
    def found(self):
        """What the last scan found, a `clearview.streams.Scan`, or None; another one may be set."""
        return None if self.scanner.fit is None else self.scanner.fit.scan

    @found.setter
    def found(self, scan):
        if scan is not None and self.catalog is not None:
            _same(scan, self.catalog)
        self.scanner.adopt(None if scan is None else _Search(scan))
        self._refresh()

    @property
    def scanning(self):
        """The scan under way, for ``panel.scanning.wait()``."""
        return self.scanner.training

    @property
    def busy(self) -> bool:
        return super().busy or self.scanning.running

    def scan(self) -> None:
        """Search the whole patch for streams, in a thread; the candidates follow when it is done.

        Raises:
            ValueError: if there are no stars.
            RuntimeError: if a scan or a training runs already.
        """
        self.scanner.train()

    def choose(self, candidate: int | None) -> None:
        """Show a candidate of the scan, 0 for the strongest, or None for none.

        Raises:
            ValueError: if there is no such candidate.
        """
        known = [value for _, value in self.controls["candidate"].options]
        if len(known) == 1 and candidate is not None:
            raise ValueError("Expected candidates to choose from, got none; scan the patch first.")
        if candidate not in known:
            raise ValueError(f"Expected a candidate from 0 to {len(known) - 2}, got {candidate!r}; choose one of them.")
        self.set(candidate=candidate)

    def cancel(self) -> None:
        """Stop the scan, or the training, and drop it."""
        (self.scanner if self.scanning.running else self.bar).cancel()

    def save(self, path=None, *, overwrite: bool | None = None):
        """Save the scan.

        Raises:
            ValueError: if there is none, or no path.
            FileExistsError: if the file is there and must not be replaced.
        """
        return self.scanner.save(path, overwrite=overwrite)

    def load(self, path=None) -> None:
        """Show a saved scan.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if there is no path, a scan runs, or the file holds no scan.
        """
        self.scanner.load(path)

    def code(self) -> str:
        code, (search, file) = code_of(self), self.scanner.file
        config = self._config.to_dict()
        usual = streams().ScanConfig().to_dict()
        changed = {k: v for k, v in config.items() if v != usual[k]}
        told = f"clearview.ScanConfig.from_dict({changed!r})"
        if self.found is not None:
            saved = search is self.scanner.fit
            made = f"clearview.load_scan({str(file)!r})" if saved else "clearview.scan_patch(stars, config)"
            code = code.replace("scan = ...  # scan of this panel", f"scan = {made}")
        return code.replace("config = ...  # config of this panel", f"config = {told}")

    def close(self) -> None:
        if not self._closed:
            self.scanning.close()
            self._clears.close()
        super().close()

    # ---- what is learnt and looked for ---------------------------------------------------------------------------

    @property
    def _config(self):
        """The settings, also where none were given."""
        return self._defaults(self.catalog) if self.config is None else self.config

    @property
    def _told_config(self):
        return self._config if self._config != streams().ScanConfig() or self.found is not None else None

    @staticmethod
    def _defaults(catalog):
        made = streams()
        fiducial = made.Fiducial()
        if catalog is not None and fiducial.skipped(catalog):
            fiducial = made.Fiducial(missing="skip")
        return made.ScanConfig(fiducial=fiducial)

    def learner(self) -> Learner | str:
        """What *Train* learns: the scores of the signal region under the slider."""
        # Asked before the controls are there, too.
        if not hasattr(self, "controls") or self.catalog is None:
            return "Training needs a catalogue of stars."
        config, region = self._config, self._region(self.settings)
        if config.method is None:
            return "Counts alone need no scores: choose a method to train."

        def fit(catalog, *, on_progress=None, on_preview=None, **_):
            histories: dict[str, pd.DataFrame] = {}

            def tell(progress):
                if len(progress.history):
                    histories[progress.stage] = progress.history
                return on_progress is None or on_progress(_staged(progress, False))

            _, made = streams().score_patch(catalog, config, regions=[region], on_progress=tell)[region.scan]
            history = pd.concat(histories.values(), ignore_index=True) if histories else pd.DataFrame()
            stars, name = int(made.stars[0]), type(config.method).__name__
            told = f"{stars:,} stars of {_words(region)} mas/yr scored{made.message.removeprefix(name)}"
            self._mine = RegionScores(
                region, config, made.ln_ratio[0], catalog.digest(DIGEST), history, told, stars, made.stopped
            )
            return self._mine

        return Learner(fit, _no_file, _no_file, defaults=lambda: self._defaults(self.catalog), name="scores")

    def usable(self, fit) -> bool:
        if not isinstance(fit, RegionScores):
            raise ValueError(f"Expected scores of a signal region, got {type(fit).__name__}; train them here.")
        return fit.stopped == "finished"

    def shows_fit(self) -> bool:
        return self.controls["best"].value and self._scores(self.settings) is not None

    def _scans(self) -> Learner | str:
        if self.catalog is None:
            return "A scan needs the stars of a patch."

        def fit(catalog, *, config=None, on_progress=None, **_):
            def tell(progress):
                return on_progress is None or on_progress(_staged(progress))

            return _Search(streams().scan_patch(catalog, config or self._config, on_progress=tell))

        return Learner(
            fit, lambda search, path, overwrite: search.scan.save(path, overwrite=overwrite),
            lambda path: _Search(streams().load_scan(path)), defaults=lambda: self._config, name="scan",
        )  # fmt: skip

    def _rescanned(self) -> None:
        if not self._closed:
            self._refresh()
            self.scanner.refresh()

    def _foreign(self) -> bool:
        """Whether the scan is one of other stars."""
        return self.scanner.fit.data_digest != self.catalog.digest(DIGEST)

    def _scores(self, settings) -> RegionScores | None:
        """Those of the region under the slider, by the method of the moment."""
        region, fits = self._region(settings), [self.fit, *self.runs.values()]
        for fit in fits:
            if fit is not None and fit.region == region and _learnt_by(fit.config) == _learnt_by(self._config):
                return None if self.catalog.digest(DIGEST) != fit.data_digest else fit
        return None

    # ---- windows -------------------------------------------------------------------------------------------------

    def _region(self, settings):
        half, center = settings["width"] / 2, settings["center"]
        return streams().SignalRegion(settings["scanned"], round(center - half, 9), round(center + half, 9))

    def _windows(self, settings) -> list[Window]:
        """The signal region, and the other window where it is one."""
        scanned = settings["scanned"]
        found = [Window(scanned, settings["center"], settings["width"] / 2)]
        if settings["other_width"] < 2 * self._reach:
            found.append(Window(_other(scanned), settings["other"], settings["other_width"] / 2))
        return found

    def _photometry(self) -> tuple[str, str] | None:
        """Columns of colour and magnitude, if the stars have them."""
        fiducial = self._config.fiducial
        names = fiducial.color_column, fiducial.magnitude_column
        return names if all(name in self.selection.columns for name in names) else None

    # ---- pictures ------------------------------------------------------------------------------------------------

    def coarse(self, settings) -> float:
        return 0.5 if self.catalog is not None and len(self.catalog) > 200_000 else 1.0

    def draw(self, settings: Mapping[str, Any], detail: float):
        catalog = self.catalog
        return "No stars yet: pass those of a patch." if catalog is None else self._pictures(catalog, settings, detail)

    def _pictures(self, catalog, settings, detail: float) -> Iterator[Any]:
        """Sky, lines, motions, and colours if there are any, one after the other."""
        columns, windows = self.selection.columns, self._windows(settings)
        kind, kept = settings["stars"], self._kept
        if kept.catalog is not catalog:
            kept = _Kept(catalog, "")  # of stars that are on their way in or out
        fiducial = kept.fiducial if kind == "fiducial" and isinstance(kept.fiducial, np.ndarray) else None
        keep = in_windows(columns, windows, fiducial)
        scores, words = self._scores(settings) if settings["best"] else None, ""
        if scores is not None:
            known = np.isfinite(scores.ln_ratio)
            rows = np.flatnonzero(known if keep is None else known & keep)
            top = min(int(settings["top"]), len(rows))
            rows = rows[np.argpartition(-scores.ln_ratio[rows], top - 1)[:top]] if top else rows
            keep = np.zeros(len(catalog), bool)
            keep[rows] = True
            words = " of highest score"
        many = len(catalog) if keep is None else int(np.count_nonzero(keep))
        candidate, members = self._candidate(settings)
        field = self._hough(columns, kept, keep, kind, fiducial, many, detail)

        title = f"{many:,} stars{words}" if words else f"{many:,} of {len(catalog):,} stars"
        over = [] if candidate is None else [track_path(**candidate["track"], label="track")]
        if candidate is None and (line := _line(field)) is not None:
            config = self._config.hough
            over.append(line_path(line, config.radius, width=config.width, label="strongest line"))
        if settings["known"]:
            over += _tracks(kept, windows)
        yield self._view(0, SKY, keep, detail, over, members, title)

        lines = hough_image(field)
        if candidate is not None:
            row = candidate["track"]
            marks = points([row["theta"]], [row["r"]]), text(row["theta"], row["r"], f"candidate {candidate['rank']}")
            lines = hv.Overlay([*layers(lines), *marks], label=lines.label)
        yield lines
        words = f"{'All' if fiducial is None else 'Fiducial'} stars in all motions"
        yield self._view(2, MOTIONS, fiducial, detail, self._outline(settings), members, words, kept=(kept, kind))
        if pair := self._photometry():
            cut, own = self._config.fiducial, keep if scores is not None else in_windows(columns, windows)
            axes = columns.axes(pair, self.views[3].range)
            # From bright on, as far as the picture goes.
            limits = window_path(cut.color, (min(axes[1].low, 0.0), cut.faintest), (0, 0, 0, 0), label="fiducial")
            words = "In the windows, of all colours" if scores is None else "The same stars"
            yield self._view(3, pair, own, detail, [limits], members, words)

    def _view(self, i: int, names, keep, detail: float, over, members, title: str, kept=None):
        """Stars of ``keep`` on two columns: counts, or points where they are few, below paths and members."""
        columns, view, mask = self.selection.columns, self.views[i], self.selection.mask
        axes = columns.axes(names, view.range or self._homes(names))
        x, y = select(columns, names, (), keep)
        chosen = None
        if mask is not None:
            chosen = select(columns, names, (), mask if keep is None else mask & keep)
        n, few = seen(x, y, axes)
        if few is not None and n < FEW:
            below = chosen_points((x, y), chosen, axes)
        else:
            axes = cells(axes, n / 3, view.width * detail)
            counts = self._count(columns, x, y, axes, kept)
            below = chosen_image(counts, None if chosen is None else count_field(chosen[0], chosen[1], axes).values)
        marks = []
        if members is not None:
            x, y = (columns[name][members] for name in names)
            marks = [k.relabel("members") for k in star_points(x, y, axes, reverse=DOWNWARDS)]
        return hv.Overlay([*layers(below), *marks, *over], label=title)

    def _homes(self, names) -> tuple[float, ...] | None:
        """What is seen at first: all motions that are looked at, or the whole patch, its centre in the middle."""
        if names == MOTIONS:
            return (-self._reach, self._reach) * 2
        ends = [abs(end) for name in names for end in self.selection.columns.ends(name)]
        return (-np.ceil(max(ends)), np.ceil(max(ends))) * 2 if names == SKY and np.isfinite(ends).all() else None

    def _count(self, columns, x, y, axes, kept):
        """Counts, made anew only for other cells where ``kept`` says where they are, and of which kind."""
        if kept is None:
            return turned(count_field(x, y, axes))
        where, kind = kept
        key = columns, tuple(axes), kind
        if where.plane[0] != key:
            where.plane = key, turned(count_field(x, y, axes))
        return where.plane[1]

    def _outline(self, settings) -> list[Any]:
        """The signal region over the plane of motions, and the window."""
        windows = {w.name: w.ends for w in self._windows(settings)}
        x, y = (windows.get(name) for name in MOTIONS)
        ends = tuple(self.views[2].range) or (-self._reach, self._reach) * 2
        first = settings["scanned"] == MOTIONS[0]
        drawn = [window_path(x if first else None, None if first else y, ends, label="signal region")]
        return [*drawn, window_path(x, y, ends, label="window")] if x and y else drawn

    def _hough(self, columns, kept, keep, kind: str, fiducial, many: int, detail: float):
        """The lines of the stars of a window, against all of their kind."""
        if detail < 1.0 and many > MOST and kept.lines is not None:
            return kept.lines
        made, config = streams(), self._config.hough

        def places(rows):
            return [np.asarray(v, float) for v in select(columns, SKY, (), rows)]

        if kind not in kept.footprints:
            x, y = places(fiducial)
            inside = np.isfinite(x)
            kept.footprints[kind] = made.Footprint(config, np.stack([x, y], 1)[inside])
        x, y = places(keep)
        inside = np.isfinite(x)  # those left out may be blotted out
        kept.lines = made.hough(x[inside], y[inside], config, reference=kept.footprints[kind])
        return kept.lines

    def _candidate(self, settings) -> tuple[dict[str, Any] | None, np.ndarray | None]:
        """The track of the candidate that is chosen, and the rows of its members."""
        i, search = settings["candidate"], self.scanner.fit
        if i is None or search is None or self._foreign() or i >= len(search.scan.candidates):
            return None, None
        row, members = search.scan.candidates[i], search.scan.members[i]
        track = [float(row[n]) for n in ("shift", "slope", "bend")]
        ends = float(row["first"]), float(row["last"])
        likely = np.asarray(members["row"])[np.asarray(members["probability"]) > 0.5]
        shown = {"theta": float(row["theta"]), "r": float(row["r"]), "track": track, "ends": ends}
        return {"rank": i + 1, "track": shown}, likely


class _Kept:
    """What all pictures of some stars use. Other stars, or cuts, get another, so that a picture which is still being
    drawn of those before leaves nothing behind.

    Attributes:
        catalog: the stars.
        fiducial: (N,) which of them are, or why that is not known.
        footprints: of the lines, by kind of stars.
        lines: that were made last.
        plane: what the counts of all proper motions were made of, and the counts.
        known: the known streams of the patch, once they were asked for.
    """

    def __init__(self, catalog, fiducial: np.ndarray | str):
        self.catalog, self.fiducial = catalog, fiducial
        self.footprints: dict[str, Any] = {}
        self.lines: Any = None
        self.plane: Any = (None, None)
        self.known: Any = None


def _tracks(kept: _Kept, windows) -> list[Any]:
    """Known streams of the patch whose median proper motion there lies in the windows, with their names."""
    if kept.known is None:
        kept.known = _known(kept.catalog)
    drawn: list[Any] = []
    for name, xy, motion in kept.known:
        if all(low <= motion[MOTIONS.index(w.name)] <= high for w in windows for low, high in [w.ends]):
            x, y = xy[len(xy) // 2].tolist()
            drawn += [path(xy[:, 0], xy[:, 1], "" if drawn else "known streams"), text(x, y, name)]
    return drawn


def _known(catalog) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Of each known stream in a patch its name, (M, 2) places x, y [deg], and its median motion there [mas/yr]."""
    center = (catalog.meta.get("patch") or {}).get("center")
    if center is None:
        return []
    lon, lat = (np.asarray(catalog[name], float) for name in ("lon", "lat"))
    radius = float(np.clip(np.hypot(lon * np.cos(np.deg2rad(lat)), lat).max(), 1e-3, 90))
    table = streams().tracks_in(tuple(center), radius)
    names, found = np.asarray(table["stream"]), []
    for name in dict.fromkeys(names.tolist()):
        x, y, *motion = (np.asarray(table[k], float)[names == name] for k in ("x", "y", *MOTIONS))
        if np.isfinite(motion).any():
            found.append((name, np.stack([x, y], 1)[:-1], np.nanmedian(motion, axis=1)))
    return found


def _learnt_by(config) -> tuple:
    """What scores depend on."""
    cuts = config.fiducial
    return config.method, config.seed, config.folds, config.sky, cuts.color_column, cuts.magnitude_column


def _staged(progress, whole: bool = True):
    """A progress whose stage, such as "pm_lon: classifiers", is said the other way round, or without the first."""
    scan, _, stage = progress.stage.rpartition(": ")
    return progress._replace(stage=f"{stage}, {scan}" if scan and whole else stage)


def _no_file(*_, **__):
    raise ValueError("Expected a scan to save or load, got scores of one region; save the scan.")


def _other(scanned: str) -> str:
    return MOTIONS[1 - MOTIONS.index(scanned)]


def _words(region) -> str:
    return f"{region.scan} {region.low:g} to {region.high:g}".replace("-", "−")


def _same(scan, catalog) -> None:
    a(scan, streams().Scan, "a Scan")
    if scan.digest != catalog.digest(DIGEST):
        raise ValueError(f"Expected a scan of these {len(catalog):,} stars, got one of {scan.stars:,} others; scan "
                         "these.")  # fmt: skip


def _line(field):
    """The strongest line of a field of `clearview.streams.hough`."""
    sigma = field["significance"].values
    if not (sigma > 0).any():
        return None
    i, j = np.unravel_index(np.nanargmax(sigma), sigma.shape)
    place = float(field["theta"][i]), float(field["r"][j])
    return streams().Line(*place, float(sigma[i, j]), int(field["counts"][i, j]), float(field["expected"][i, j]))


def _cuts(catalog, fiducial) -> str:
    """Which stars are fiducial, in words."""
    skipped = () if catalog is None else fiducial.skipped(catalog)
    told = [f"within {fiducial.radius:g}° of the centre"]
    if fiducial.magnitude_column not in skipped:
        told.append(f"G < {fiducial.faintest:g}")
    if fiducial.color_column not in skipped:
        told.append(f"{fiducial.color[0]:g} < BP − RP < {fiducial.color[1]:g}")
    words = f"fiducial: {', '.join(told)}, faster than {fiducial.slow:g} mas/yr, in no cluster"
    return words + (" (no photometry to cut in)." if skipped else ".")


_FORMAT = "{:>3} {:>9} {:>8} {:>8} {:>9} {:>8}  {}"
_HEAD = _FORMAT.format("", "strength", "pm_lon", "pm_lat", "members", "length", "")


def _row(i: int, row) -> str:
    """A candidate as a line of the list."""
    known = str(row["known"]) if "known" in row.colnames else ""
    chance = f"fluke: p {row['p_fluke']:.2g}" if "p_fluke" in row.colnames else ""
    words = [chance, str(row["flags"]).replace(",", ", "), known]
    told = _FORMAT.format(
        i + 1, f"{row['strength']:.1f}", *(f"{row[n]:.1f}" for n in MOTIONS), f"{row['count']:.0f}",
        f"{row['length']:.0f}°", "; ".join(word for word in words if word),
    )  # fmt: skip
    return told.replace("-", "−").rstrip().replace(" ", BLANK)


def _mono(words: str) -> str:
    return f'<div class="cv-candidates-head">{words.replace(" ", BLANK)}</div>'
