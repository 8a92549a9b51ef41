"""A galaxy of few particles, as many stars as one likes from a flow, and the kernel that clumps, side by side."""

import threading
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, ClassVar

import holoviews as hv
import ipywidgets as W
import numpy as np
import traitlets as T

from clearview.checks import a
from clearview.figures import count_field, histogram, limits_of, slice_image, text
from clearview.panels import base
from clearview.panels.columns import CARTESIAN, Columns, label, turned
from clearview.panels.compare import CHUNK, cells
from clearview.panels.controls import Choice, button, dropdown, slider, small
from clearview.panels.form import Entry
from clearview.panels.train import Learner, Work
from clearview.panels.view import RasterView
from clearview.panels.worker import Overtaken, Training

ENTRIES = (
    Entry("Radius [kpc]", "Of the ball whose stars are learnt, up to its edge.", ("radius",), float, "no edge"),
    Entry("Steps, at least", "More are slower and better.", ("training.min_steps",)),
    Entry("Stars a step", "More calm the training, and are slower.", ("training.batch_size",)),
    Entry("Units a layer", "Width of the network: more follow finer detail.", ("flow.width",)),
    Entry("Layers", "Of the network.", ("flow.depth",)),
    Entry("Seed", "Of all random numbers: another one shows how much is chance.", ("seed",)),
)

KINDS = ("particles", "flow", "kernel")

TESTED = 20_000
"""Stars of each that the classifier sees in a panel, at most: a minute's work."""


def generation():
    """`clearview.generation`, loaded when first used: JAX takes a second."""
    return import_module("clearview.generation")


class UpsamplePanel(base.Panel):
    """Star particles, stars drawn from a flow and from an adaptive kernel, and where a classifier tells them apart.

    All pictures have one projection and one scale of colours: stars per cell, as if there were as many as particles.
    Below them, how each of the two coordinates is distributed among the stars that are seen.
    Particles with weights are shown, and judged, by their weights. *Tell apart* asks a classifier, for up to a minute;
    the particles that it sees are those that were learnt from, so a flow that repeats them would pass: for a verdict
    use `clearview.generation.two_sample_test` with particles held out.

    Args:
        catalog: the particles, with phase space.
        fit: a `clearview.generation.Upsampler` to begin with.
        x, y: names of the axes.
        config: a `clearview.UpsampleConfig`; by default what suits the particles.
        size: longer side of each plot, CSS pixels.
        threaded: False draws and trains at once in the calling thread.

    Raises:
        KeyError: if the particles have no phase space.
        ValueError: for a name that is no coordinate.
    """

    tags = ("x_axis", "y_axis", "number", "judged")
    told = ("x_axis", "y_axis")
    work: ClassVar = Work(file="upsampler.clearview", entries=ENTRIES)

    def __init__(
        self, catalog=None, fit=None, *, x: str = "R", y: str = "z", config=None, size: int = 240, threaded: bool = True
    ):  # fmt: skip
        if catalog is not None:
            catalog.require(CARTESIAN)
        self._axes_at_first, self._threaded = (x, y), threaded
        self._made: dict[str, Any] = {}
        self._judged: dict[str, Any] = {}
        self._said: Any = None  # what the words are about
        super().__init__(catalog, fit, config=config, size=size, threaded=threaded)

    # ---- controls ------------------------------------------------------------------------------------------------

    def build(self) -> dict[str, Any]:
        empty = Columns.of_draws(np.empty((0, 6)), CARTESIAN)
        for name in self._axes_at_first:
            if name not in empty:
                raise ValueError(f"Expected axes among {', '.join(empty.units)}, got {name!r}; choose one of them.")
        width = self.view.width
        sides = (RasterView(width, round(0.6 * width)) for _ in "xy")
        self.views = (self.view, *(RasterView(width) for _ in range(3)), *sides)
        for view in self.views[1:4]:
            T.link((self.view, "range"), (view, "range"))
        x, y = (dropdown(f"{k} axis", empty.menu(), n) for k, n in zip("xy", self._axes_at_first, strict=True))
        number = slider("stars", 4.7, 3.0, 6.0, 0.1, readout=False)
        self._words, self._tell = W.HTML(), button("Tell apart")
        self._tell.on_click(
            lambda _: self._test.cancel() if self._test.running else self.guard("judge", self.tell_apart)
        )
        self._test = Training(self._on_test_progress, self._on_judged, threaded=self._threaded)
        self._build = Training(lambda _: None, self._on_built, threaded=self._threaded)
        judged = Choice(("flow", "kernel"))
        return {"x_axis": x, "y_axis": y, "number": number, "judged": judged}

    def arrange(self) -> W.Widget:
        self.below = (self._words,)
        return self.in_columns([*self.controls.values(), self._tell, self.bar, self.share])

    def update(self) -> None:
        axes = self.controls["x_axis"].value, self.controls["y_axis"].value
        if axes != getattr(self, "_axes_before", axes):
            self._home()
        self._axes_before = axes
        self.controls["number"].description = f"{self._number(self.settings):,} stars"
        self.controls["judged"].disable({} if self.fit is not None else {"flow": "There is no flow yet: press Train."})
        self._tell.disabled = self.catalog is None
        self._tell.description = "Cancel" if self._test.running else "Tell apart"
        if self._said is not None and self._said != self._key(self._said[0]):
            self._said, self._words.value = None, ""

    # ---- what is learnt ------------------------------------------------------------------------------------------

    def learner(self) -> Learner:
        return Learner(
            lambda *args, **how: generation().fit_upsampler(*args, **how),
            lambda fit, path, overwrite=False: fit.save(path, overwrite=overwrite),
            lambda path: generation().load_upsampler(path),
            defaults=lambda: self._usual(),
            estimate=lambda stars, config: generation().estimate_seconds(len(stars), config),
            name="stars",
        )

    def usable(self, fit) -> bool:
        return a(fit, generation().Upsampler, "an Upsampler").has_density

    def _usual(self):
        return generation().UpsampleConfig() if self.catalog is None else generation().default_config(self.catalog)

    def code(self) -> str:
        return (
            super().code().replace("load_columns(", "load_upsampler(").replace("fit.clearview", "upsampler.clearview")
        )

    # ---- telling apart -------------------------------------------------------------------------------------------

    def tell_apart(self) -> None:
        """Ask a classifier whether it tells the stars of the flow, or of the kernel, from the particles.

        Raises:
            ValueError: if there are no particles or no flow.
            RuntimeError: if a classifier is at work.
        """
        which, fit = self.controls["judged"].value, self.fit
        if self.catalog is None or (which == "flow" and fit is None):
            raise ValueError("Expected particles and a flow to tell apart, got not both; train one first.")
        key, (points, weights) = self._key(which), self._particles()
        rows = np.random.default_rng(0).permutation(len(points))[:TESTED]

        def job(report):
            drawn = self._drawn(which, fit, len(rows), lambda: report(0.0) is False).take(len(rows))
            both = points[rows], np.stack([drawn[name] for name in CARTESIAN], axis=1)
            found = generation().two_sample_test(
                *map(generation().local, both), columns=generation().LOCAL, folds=3, on_progress=report,
                weights=(None if weights is None else weights[rows], None),
            )  # fmt: skip
            return key, found, [Columns.of_draws(p, CARTESIAN) for p in both]

        self._said, self._words.value = None, small("Telling apart …")
        self._test.start(job)
        self.update()

    def _on_test_progress(self, done: float) -> None:
        self._words.value = small(f"Telling apart … {done:.0%}")

    def _on_judged(self, result, error) -> None:
        if error is not None:
            self._words.value = ""
            self._say("judge", error)
        else:
            key, found, columns = result
            self._judged[key[0]], self._said = (key, found, columns), key
            self._words.value = small(f"{key[0].capitalize()} against particles: {found.message}")
        self._changed()

    # ---- pictures ------------------------------------------------------------------------------------------------

    def coarse(self, settings) -> float:
        return 0.5

    def draw(self, settings: Mapping[str, Any], detail: float):
        names = settings["x_axis"], settings["y_axis"]
        if self.catalog is None:
            return "No particles yet: pass a catalogue."
        if names[0] == names[1]:
            return "Choose two different axes."
        return self._pictures(settings, names, detail)

    def _pictures(self, settings, names, detail: float) -> Iterator[Any]:
        particles, number = self._shown(), self._number(settings)
        axes = particles.axes(names, settings["range"])
        axes = cells(axes, len(particles) / 3, self.view.width * detail)
        counts = count_field(particles[names[0]], particles[names[1]], axes)
        limits = limits_of(counts.values, "log")

        def picture(counts, n, words):
            scaled = (counts * np.float32(len(particles) / n)).astype(np.float32)
            scaled = scaled.rename("stars").assign_attrs(units="", long_name="stars per cell")
            return slice_image(turned(scaled.where(counts > 0)), scale="log", limits=limits, label=words)

        shown = {"particles": particles}
        yield picture(counts, len(particles), f"{len(particles):,} particles")
        for which, words in (("flow", "a flow"), ("kernel", "a kernel")):
            if which == "flow" and self.fit is None:
                yield _blank("press Train", axes)
                continue
            # While a slider is moved, what has been drawn already is enough.
            if which == "kernel" and not self._has_kernel():
                yield _blank("finding the kernel's widths …", axes)
                continue
            drawn = self._drawn(which, self.fit, number if detail == 1.0 else CHUNK, lambda: self._draws.waiting)
            if detail == 1.0 and len(drawn) < number:
                raise Overtaken
            drawn = shown[which] = drawn.take(number)
            counts = count_field(drawn[names[0]], drawn[names[1]], axes)
            yield picture(counts, len(drawn), f"{len(drawn):,} stars of {words}")
        yield self._map(settings, names, axes)
        for axis in axes:
            values = {of: columns[axis.name] for of, columns in shown.items()}
            inside = {of: v[(v >= axis.low) & (v <= axis.high)] for of, v in values.items()}
            if any(len(v) for v in inside.values()):
                yield histogram(axis.name, inside, words=label(axis.name), unit=axis.units, inks=KINDS,
                                bounds=(axis.low, axis.high))  # fmt: skip
            else:
                yield _blank("no stars here", axes)

    def _map(self, settings, names, axes):
        which = settings["judged"]
        key, found, columns = self._judged.get(which, (None, None, None))
        if key is None or key != self._key(which):
            return _blank("press Tell apart", axes)
        few = cells(axes, 900, self.view.width)
        values = [{name: c[name] for name in names} for c in columns]
        field = generation().difference_map(found, few, values)
        # Of a few stars the mean says nothing.
        score = field["score"].where(field["stars_a"] + field["stars_b"] >= 10).rename("difference")
        score.attrs |= {"long_name": f"ln(particles / {which})"}
        words = f"particles or {which}? AUC {found.auc:.3f} ± {found.auc_error:.3f}"
        return slice_image(turned(score), scale="diverging", limits=(-0.5, 0.5), label=words)

    # ---- stars ---------------------------------------------------------------------------------------------------

    @staticmethod
    def _number(settings) -> int:
        return round(float(f"{10 ** settings['number']:.1e}"))

    def _used(self):
        """The config that says which particles count, and how much."""
        return self.fit.config if self.fit is not None else self.config or self._usual()

    def _key(self, which: str):
        used = self._used()
        return which, self.catalog, self.fit if which == "flow" else None, used.weights, used.radius, used.center

    def _keep(self, what: str, key, make):
        made = self._made.get(what)
        if made is None or made[0] != key:
            made = self._made[what] = key, make()
        return made[1]

    def _particles(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Those that are learnt from, (N, 6), and their weights."""

        def make():
            used, points = self._used(), self.catalog.phase_space
            weights = None if used.weights is None else generation().weights_of(self.catalog, used.weights)
            keep = np.ones(len(points), bool) if weights is None else weights > 0
            if used.radius is not None:
                keep &= np.linalg.norm(points[:, :3] - np.asarray(used.center), axis=1) < used.radius
            return points[keep], None if weights is None else weights[keep]

        return self._keep("particles", self._key("particles"), make)

    def _shown(self) -> Columns:
        """The particles, drawn again by their weights if they have any."""

        def make():
            points, weights = self._particles()
            if weights is not None:
                rows = np.random.default_rng(0).choice(len(points), len(points), p=weights / weights.sum())
                points = points[rows]
            return Columns.of_draws(points, CARTESIAN)

        return self._keep("shown", self._key("shown"), make)

    def _drawn(self, which: str, fit, number: int, stop) -> "_Stars":
        """At least so many stars, or as many as there was time for."""
        if which == "flow":
            stars = self._keep("flow", fit, lambda: _Stars(lambda n, seed: fit.sample(n, seed)[:, :6]))
        else:
            stars = self._keep("kernel", self._key("kernel"), self._kernel)
        return stars.grow(number, stop)

    def _kernel(self) -> "_Stars":
        used, of = self._used(), generation().KernelSampler.of
        return _Stars(of(self.catalog, used.weights, radius=used.radius, center=used.center).sample)

    def _has_kernel(self) -> bool:
        """Whether there is a kernel of these particles; else one is begun, since its tree takes seconds."""
        key = self._key("kernel")
        if self._made.get("kernel", (None,))[0] != key and not self._build.running:
            self._build.start(lambda _: (key, self._kernel()))
        return self._made.get("kernel", (None,))[0] == key

    def _on_built(self, result, error) -> None:
        if error is not None:
            self._say("kernel", error)
            return
        self._say("kernel", None)
        self._made["kernel"] = result
        if self._threaded:
            self._changed()

    def close(self) -> None:
        self._test.close()
        self._build.close()
        super().close()


class _Stars:
    """Stars drawn once, a chunk at a time.

    Args:
        sample: ``sample(n, seed)`` gives (n, 6).
    """

    def __init__(self, sample):
        self._sample, self._parts, self._lock = sample, [], threading.Lock()
        self._columns = Columns.of_draws(np.empty((0, 6)), CARTESIAN)

    def __len__(self) -> int:
        return CHUNK * len(self._parts)

    def grow(self, number: int, stop) -> "_Stars":
        """Draw on until there are so many, or something more urgent waits; at least one chunk."""
        with self._lock:
            while len(self) < number and not (self._parts and stop()):
                self._parts.append(np.asarray(self._sample(CHUNK, len(self._parts)), np.float32))
        return self

    def take(self, number: int) -> Columns:
        """The first so many, or all that there are."""
        made = self._columns
        if len(made) != min(number, len(self)):
            made = self._columns = Columns.of_draws(np.concatenate(self._parts)[:number], CARTESIAN)
        return made


def _blank(words: str, axes) -> hv.Overlay:
    x, y = axes
    at = text(0.5 * (x.low + x.high), 0.5 * (y.low + y.high), words)
    kx, ky = (hv.Dimension(f"{label(k.name)} [{k.units}]", range=(k.low, k.high)) for k in axes)
    return hv.Overlay([at.redim(x=kx, y=ky)])
