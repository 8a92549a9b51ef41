"""Stars, and the density learnt from them, on any two columns, in windows on two more."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import ipywidgets as W
import numpy as np

from clearview.checks import a, number, texts
from clearview.field import Axis
from clearview.figures import count_field, limits_of, marginal, slice_image
from clearview.panels import base
from clearview.panels.columns import CARTESIAN, MOTIONS, Columns, label, learnt, turned
from clearview.panels.compare import CHUNK, FEW, Draws, Window, cells, expected, seen, select
from clearview.panels.controls import Choice, dropdown, slider, tick
from clearview.panels.outlines import SelectingPanel, chosen_image, chosen_points
from clearview.panels.selection import Selection
from clearview.panels.train import Learner
from clearview.panels.view import RasterView
from clearview.units import SUN

PAIRS = (("x", "y"), ("phi1", "phi2"), ("lon", "lat"), ("ra", "dec"), ("l", "b"), *MOTIONS)
"""What a catalogue is first shown on: the first of these that it has."""

WINDOWS = {"first": "Slice in", "second": "and in"}

PER_CELL = {"stars": 3.0, "flow": 3.0, "difference": 12.0}
"""Stars to a cell on average; a difference needs some more to mean anything."""

MOVED = 1_500_000
"""Of twice as many stars or more, about so many are counted while a slider is moved, unless some are selected."""


class PhaseSpacePanel(SelectingPanel):
    """Star counts on any two columns, in windows on two more, beside a flow learnt from the same stars.

    What the flow expects is counted from draws: twice as many as it has stars, at least 200,000 and at most a million.
    The difference is in units of σ = √(max(flow, 1) (1 + stars / draws)): the Poisson noise of the stars, at least that
    of one star, and that of the draws. Beside a flow, only the stars of its kind count: those in the ball of a map, or
    with a finite value in all columns that were learnt.

    Args:
        catalog: the stars, a `clearview.Catalog`; positions, velocities, sky, proper motions, colours and magnitudes
            are offered as far as it has them.
        fit: a `clearview.dynamics.MapFit` whose density is trained, or a `clearview.flows.ColumnFit`.
        learn: the columns that *Train* learns; by default the map f(x, v) where there is phase space, else the proper
            motions.
        x: name of the x axis; by default positions, else the sky, else proper motions.
        y: name of the y axis.
        first: a window that selects stars: ``(name, center, half-width)`` in the unit of the column, or only a name;
            "none" for none.
        second: a further window.
        config: a `clearview.MapConfig`, or a `clearview.flows.ColumnConfig` where columns are learnt.
        selection: the `Selection` to share with other panels; by default one of its own.
        size: longer side of the plot, CSS pixels.
        threaded: False draws and trains at once in the calling thread.

    Raises:
        ValueError: for a name that the catalogue does not have, or a fit of other columns than ``learn``.
    """

    given: ClassVar = {"learn": "_learn"}
    told = ("x_axis", "y_axis", *(f"{w}{part}" for w in WINDOWS for part in ("", "_at", "_width")))
    tags = ("show", "x_axis", "y_axis", "first_at", "first_width", "second_at", "second_width")

    def __init__(
        self, catalog=None, fit=None, *, learn: Sequence[str] | None = None, x: str | None = None, y: str | None = None,
        first: str | tuple[str, float, float] | None = None, second: str | tuple[str, float, float] | None = None,
        config=None, selection: Selection | None = None, size: int = 480, threaded: bool = True,
    ):  # fmt: skip
        self._start = {"x": x, "y": y, "first": first, "second": second}
        self._learn = None if learn is None else tuple(texts("learn", learn))
        self._made: Columns | None = None
        self._draws_made: Draws | None = None
        self._inside: tuple[Any, Any, Any] = None, None, None
        selection = Selection(catalog) if selection is None else selection
        a(selection, Selection, "a Selection")
        if catalog is not None:
            measured = [name for name in selection.columns.units if name in catalog]
            for name in self._learn or ():
                _known("learn", name, measured)
        super().__init__(catalog, fit, config=config, selection=selection, size=size, threaded=threaded)

    # ---- controls ------------------------------------------------------------------------------------------------

    def build(self) -> dict[str, Any]:
        columns, start = self._columns(), self._start
        axes = dict(zip(("x", "y"), _pair(columns), strict=True)) | {k: start[k] for k in ("x", "y") if start[k]}
        windows: dict[str, tuple] = {}
        for which, default in (("first", "z" if "z" in columns else "none"), ("second", "none")):
            given = start[which] or default
            windows[which] = (given,) if isinstance(given, str | int) else tuple(given)
            name, *ends = windows[which]
            if not isinstance(name, str) or len(ends) not in (0, 2):
                raise ValueError(f"Expected {which} as a name or (name, center, half-width), got {given!r}; write one.")
            for end in ends:
                number(which, end)
        for what, name in (*axes.items(), *((which, window[0]) for which, window in windows.items())):
            if name is not None and name != "none":
                _known(what, name, columns.units)
        menu = columns.menu()
        controls: dict[str, Any] = {"show": Choice(tuple(PER_CELL))}
        controls |= {f"{k}_axis": dropdown(f"{k} axis", menu, name) for k, name in axes.items()}
        for which, text in WINDOWS.items():
            controls |= {
                which: dropdown(text, [("none", "none"), *menu], windows[which][0]),
                f"{which}_at": slider("center", 0.0, -1.0, 1.0, 0.01),
                f"{which}_width": slider("half-width", 1.0, 0.01, 1.0, 0.01),
            }
            if windows[which][0] != "none":
                _limit(columns, controls, which, *windows[which])
        controls["marginals"] = tick("counts along each axis, stars and flow", False)
        self._sides = [RasterView(234, 120, name="cv-marginal") for _ in axes]
        self._marginal_views = W.HBox(self._sides)
        self.below = (self.selecting, self._marginal_views)
        self.outlines.add(self.view, lambda: (names_of(self.settings), windows_of(self.settings)))
        self._before = columns, list(axes.values()), {which: window[0] for which, window in windows.items()}
        return controls

    def update(self) -> None:
        super().update()
        controls, columns = self.controls, self._columns()
        before, axes_before, windows_before = self._before
        if columns is not before:
            self._offer(columns)
        axes = [controls[k].value for k in ("x_axis", "y_axis")]
        windows = {which: controls[which].value for which in WINDOWS}
        self._before = columns, axes, windows
        used = {*axes, *windows.values()} - {"none", None}
        controls["show"].disable(self._reasons(used))
        for which, name in windows.items():
            at, width = controls[f"{which}_at"], controls[f"{which}_width"]
            at.layout.display = "none" if name == "none" else ""
            width.layout.display = "none" if name == "none" or self._at_a_place(controls["show"].value, used) else ""
            if name != "none" and name != windows_before[which]:
                _limit(columns, controls, which, name)
            elif name != "none" and columns is not before:
                _limit(columns, controls, which, name, at.value, width.value)
        self._marginal_views.layout.display = "" if controls["marginals"].value else "none"
        self.selecting.layout.display = "" if self.catalog is not None else "none"
        self.view.tools = ["box", "lasso"] if self.catalog is not None else []
        if axes != axes_before:
            self._home()
            self.outlines.erase(self.view)

    def _offer(self, columns: Columns) -> None:
        """The menus of another catalogue; what was chosen stays where it is there too."""
        defaults: dict[str, Any] = dict(zip(("x_axis", "y_axis"), _pair(columns), strict=True))
        for name in (*defaults, *WINDOWS):
            control, more = self.controls[name], [] if name in defaults else [("none", "none")]
            value = control.value
            control.options = [*more, *columns.menu()]
            control.value = value if value == "none" or value in columns else defaults.get(name, "none")

    def _reasons(self, used: set[str]) -> dict[str, str]:
        """Why stars, flow or difference cannot be shown on the columns that are used."""
        fit, stars = self.fit, ""
        if self.catalog is None:
            stars = "Stars and difference need a catalogue."
        flow = "Flow and difference need a fit: train or load one." if fit is None else self._foreign(fit, used)
        found = {"stars": stars, "flow": flow, "difference": flow or stars}
        return {name: why for name, why in found.items() if why}

    def _foreign(self, fit, used: set[str]) -> str:
        """Why a fit says nothing about the columns that are used; empty where it does."""
        known, units = self._draws_of(fit).columns.units, self._columns().units
        if foreign := sorted(used - set(known)):
            return f"The flow knows {', '.join(map(label, known))}, not {', '.join(map(label, foreign))}."
        for name in sorted(used):
            if known[name] != units[name]:
                return f"The flow has {label(name)} in {known[name]}, the stars in {units[name]}; train one on these."
        return ""

    # ---- what is learnt ------------------------------------------------------------------------------------------

    @property
    def learn(self) -> tuple[str, ...] | None:
        """The columns that *Train* learns; None is the map f(x, v), and () nothing."""
        fit: Any = self.bar.partial or self.bar.fit
        if self._learn is not None:
            return self._learn
        if fit is not None:
            return learnt(fit)
        if self.catalog is None or self.catalog.has_phase_space:
            return None
        return next((pair for pair in MOTIONS if set(pair) <= set(self.catalog.columns)), ())

    def learner(self) -> Learner | str:
        names = self.learn
        if names is None:
            return super().learner()
        if not names:
            return "There are neither positions and velocities nor proper motions to learn; pass learn=(...)."
        return Learner(
            lambda catalog, config=None, **how: base.flows().fit_columns(catalog, names, config, **how),
            lambda *args, **how: base.flows().save_columns(*args, **how),
            lambda path: base.flows().load_columns(path),
            defaults=lambda: base.flows().ColumnConfig(),
            estimate=lambda stars, config: base.flows().estimate_seconds(len(stars), len(names), config),
            name=", ".join(names),
        )

    def usable(self, fit) -> bool:
        names = learnt(fit)
        if self._learn is not None and names != self._learn:
            got = "a map" if names is None else f"one of {', '.join(names)}"
            raise ValueError(f"Expected a flow of {', '.join(self._learn)}, got {got}; make another panel for it.")
        return fit.has_density

    def shows_fit(self) -> bool:
        chosen = self.controls["show"].value != "stars" or self.controls["marginals"].value
        return self.fit is not None and chosen

    # ---- pictures ------------------------------------------------------------------------------------------------

    def coarse(self, settings) -> float:
        if self._at_a_place(settings["show"], _used(settings)):
            return 0.3
        # Millions of stars are counted in less time than the browser takes to get a large frame.
        many = self.catalog is not None and len(self.catalog) > 200_000
        return 0.5 if many or settings["show"] != "stars" else 1.0

    def draw(self, settings: Mapping[str, Any], detail: float):
        names, show, windows = names_of(settings), settings["show"], windows_of(settings)
        fit: Any = self.fit
        if None in names or (show != "flow" and self.catalog is None):
            return "No stars yet: pass a catalogue."
        if names[0] == names[1]:
            return "Choose two different axes."
        if show != "stars" and fit is None:
            return "No flow yet: press Train, or load a saved fit."
        if self._at_a_place(show, _used(settings)):
            return self._log_f(fit, settings, detail)
        words = "".join(f", {w.words(self._columns().units[w.name])}" for w in windows)
        counts: Any = None
        if self.catalog is None:
            axes = self._cells(settings, fit.stars, detail)
        else:
            axes, times = self._axes(settings, 1, 1), 1
            mask = self.selection.mask if show == "stars" else None
            if show == "stars" and detail < 1.0 and mask is None:
                times = max(1, len(self.catalog) // MOVED)
            x, y = self._select(names, windows, None if show == "stars" else fit, times)
            n, few = seen(x, y, axes)
            if few is not None and times > 1:  # too few to leave any out
                times = 1
                x, y = self._select(names, windows)
                n, few = seen(x, y, axes)
            found: Any = None
            if mask is not None:
                found = select(self._columns(), names, windows, mask)
            if show == "stars" and few is not None and n < FEW:
                return chosen_points((x, y), found, axes, self._of_all(n) + words)
            axes = self._cells(settings, n * times, detail)
            counts = turned(count_field(x, y, axes))
            if show == "stars":
                found = None if found is None else count_field(found[0], found[1], axes).values
                counts.values *= np.uint32(times)
                return chosen_image(counts, found, self._of_all(int(counts.values.sum()), times) + words)
        enough = None if detail == 1.0 else CHUNK
        flow, more = expected(self._draws_of(fit), axes, windows, enough=enough, stop=lambda: self._draws.waiting)
        total = float(flow.sum())
        if show == "flow":
            limits = limits_of((flow if counts is None else counts).values, "log")
            title = f"flow: {total:,.0f} of {fit.stars:,} stars expected{words}"
            return slice_image(flow.where(flow > 0.3 * limits[0]), scale="log", limits=limits, label=title)
        # Below one star the root of what is expected would make a finding of every single star.
        sigma = np.sqrt(np.maximum(flow, 1.0) * (1.0 + more))
        field = ((counts - flow) / sigma).where((counts > 0) | (flow > 0.1)).astype(np.float32)
        field = field.rename("difference").assign_attrs(units="", long_name="(stars − flow) / σ")
        title = f"{int(counts.sum()):,} stars, {total:,.0f} expected{words}"
        return slice_image(field, scale="diverging", limits=(-5.0, 5.0), label=title)

    def marginals(self):
        """Star counts along each axis of the picture, in the present windows, beside what the flow expects.

        The flow stands for the stars that it was learnt from; its curve comes from draws, and is there if it knows the
        axes and the windows. Then the stars are those of its kind only, in the ball of a map or with all columns that
        were learnt, even where the picture shows all stars.

        Returns:
            Two HoloViews overlays of curves, along the x axis and along the y axis.

        Raises:
            ValueError: if there are no stars and no flow to count, or the axes are the same.
        """
        found = self._marginals(self.settings)
        if found is None:
            raise ValueError("Expected stars, or a flow, on two different axes, got none; set panel.catalog and axes.")
        return found

    def beside(self, settings) -> None:
        if settings["marginals"]:
            for view, element in zip(self._sides, self._marginals(settings) or (None, None), strict=True):
                view.clear("Nothing to count.") if element is None else view.show(element)

    def _marginals(self, settings):
        names, windows = names_of(settings), windows_of(settings)
        fit: Any = self.fit
        if None in names or names[0] == names[1]:
            return None
        draws = None if fit is None else self._draws_of(fit)
        if draws is not None and self._foreign(fit, _used(settings)):
            draws = None
        axes, found = self._axes(settings, 48, 48), {}
        if self.catalog is not None:
            x, y = self._select(names, windows, fit if draws else None)
            bins = int(np.clip(2 * seen(x, y, axes)[0] ** (1 / 3), 8, 64))  # Rice's rule
            axes = self._axes(settings, bins, bins)
            found["stars"] = turned(count_field(x, y, axes))
        if draws is not None:
            found["flow"], _ = expected(draws, axes, windows, stop=lambda: self._draws.waiting)
        if not found:
            return None
        # along x the sum is over y, and the other way round
        return tuple(
            marginal(**{k: field.sum(other, keep_attrs=True) for k, field in found.items()}) for other in names[::-1]
        )

    def _log_f(self, fit: Any, settings, detail: float):
        """ln f of the map at the centers of the windows, and at the middle of whatever has none."""
        names, at = names_of(settings), {w.name: w.center for w in windows_of(settings)}
        middle: dict[str, Any] = dict(zip(CARTESIAN, [*fit.center, *SUN.velocity], strict=True))
        if self.catalog is not None and self.catalog.has_phase_space:
            middle |= {k: np.nanmedian(self._columns()[k][::97]) for k in ("vx", "vy", "vz")}
        fixed = {k: float(at[k] if k in at else middle[k]) for k in CARTESIAN if k not in names}
        size = round(256 * detail)
        field = base.dynamics().phase_space_field(fit, self._axes(settings, size, size), fixed)["log_f"]
        values = field.values[np.isfinite(field.values)]
        # ln f falls without end; below e^-12 of its highest value there are no stars to tell
        limits = (float(values.max()) - 12.0, float(values.max())) if values.size else None
        words = ", ".join(f"{label(k)} = {round(v, 2) + 0:g} {CARTESIAN[k]}" for k, v in fixed.items())
        return slice_image(field, limits=limits, label=f"f at {words}")

    def _at_a_place(self, show: str, used: set[str]) -> bool:
        """Whether the picture is ln f of a map, shown at the centers of the windows: smooth, but not to be counted."""
        return show == "flow" and self.fit is not None and learnt(self.fit) is None and used <= set(CARTESIAN)

    # ---- stars ---------------------------------------------------------------------------------------------------

    def _columns(self) -> Columns:
        """All that can be an axis, made anew for another catalogue; without one that of the flow."""
        if self.catalog is not None:
            return self.selection.columns
        made, fit = self._made, self.fit  # read once: the thread that draws and the controls may look meanwhile
        if made is None or made.source is not fit:
            empty = Columns.of_draws(np.empty((0, 6)), CARTESIAN)
            made = self._made = empty if fit is None else self._draws_of(fit).grow(CHUNK)
        return made

    def _draws_of(self, fit) -> Draws:
        made = self._draws_made
        if made is None or made.fit is not fit:
            made = self._draws_made = Draws(fit)
        return made

    def _select(self, names, windows, fit: Any = None, times: int = 1) -> tuple[np.ndarray, ...]:
        """The two columns of the stars in the windows; beside a fit, of those that it can be learnt from.

        Of ``times`` stars one is taken.
        """
        whole = self._columns()  # kept as long as those that are taken from it
        columns = whole.thinned(times)
        return select(columns, names, windows, None if fit is None else self._learnable(columns, fit))

    def _learnable(self, columns: Columns, fit: Any) -> np.ndarray | None:
        """(N,) whether a star is in the ball of a map, or has all columns of a flow; None if all are."""
        of, to, inside = self._inside  # read once, as in _columns
        if of is columns and to is fit:
            return inside
        names, inside = learnt(fit), None
        if names is None:
            distance = sum((columns[k] - np.float32(c)) ** 2 for k, c in zip("xyz", fit.center, strict=True))
            inside = np.less(distance, np.float32(fit.radius) ** 2)
        for name in names or ():
            if (name in columns or name in self.catalog) and not np.isfinite(columns.ends(name)).all():
                finite = np.isfinite(columns[name])
                inside = finite if inside is None else inside & finite
        self._inside = columns, fit, inside
        return inside

    def _of_all(self, n: int, times: int = 1) -> str:
        """So many of all stars, in words; of ``times`` stars one was counted."""
        total = len(self.catalog)
        if n + times > total:
            return f"all {total:,} stars"
        return f"{n:,} of {total:,} stars" if times == 1 else f"about {float(f'{n:.3g}'):,.0f} of {total:,} stars"

    # ---- axes ----------------------------------------------------------------------------------------------------

    def _axes(self, settings, *sizes: int) -> list[Axis]:
        return self._columns().axes(names_of(settings), settings["range"], sizes)

    def _cells(self, settings, n: int, detail: float) -> list[Axis]:
        return cells(self._axes(settings, 1, 1), n / PER_CELL[settings["show"]], self.view.width * detail)


def names_of(settings) -> tuple[Any, Any]:
    return settings["x_axis"], settings["y_axis"]


def windows_of(settings) -> list[Window]:
    return [
        Window(settings[which], settings[f"{which}_at"], settings[f"{which}_width"])
        for which in WINDOWS
        if settings[which] != "none"
    ]


def _used(settings) -> set[str]:
    return {*names_of(settings), *(window.name for window in windows_of(settings))}


def _known(what: str, name: str, names) -> None:
    if name not in names:
        raise ValueError(f"Expected {what} among {', '.join(names)}, got {name!r}; choose one of them.")


def _pair(columns: Columns) -> tuple[Any, ...]:
    """The axes to begin with."""
    return next((p for p in PAIRS if all(n in columns for n in p)), tuple([*columns.units, None, None][:2]))


def _limit(columns: Columns, controls, which: str, name: str, center: Any = None, half: Any = None) -> None:
    """Give the two sliders of a window the reach and steps of its column, and what was asked for."""
    low, high = columns.span(name)
    step = float(10 ** np.floor(np.log10((high - low) / 100)))
    center = round(columns.middle(name) / step) * step if center is None else float(center)
    half = max(1, round((high - low) / 8 / step)) * step if half is None else float(half)
    if not half > 0:
        raise ValueError(f"Expected a half-width above 0 for {name}, got {half:g}; widen it.")
    digits, units = f".{max(0, round(-np.log10(step)))}f", columns.units[name]
    for part, limits, value, text in (
        ("at", (min(low, center), max(high, center)), center, f"{label(name)} [{units}]"),
        ("width", (min(step, half), max((high - low) / 2, half)), half, f"± [{units}]"),
    ):
        control = controls[f"{which}_{part}"]
        with control.hold_trait_notifications():
            control.min, control.max, control.value = *limits, value
            control.step, control.description, control.readout_format = step, text, digits
