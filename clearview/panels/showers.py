"""Showers in a calorimeter: seen layer by layer, learnt, and drawn anew by teacher and student."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, ClassVar

import holoviews as hv
import ipywidgets as W
import numpy as np

from clearview.calorimeter import FEATURES, Showers
from clearview.checks import a
from clearview.figures import feature_histogram, layer_image, text
from clearview.panels import base
from clearview.panels.controls import Choice, dropdown, slider, small
from clearview.panels.form import Entry
from clearview.panels.train import Learner, Work
from clearview.panels.view import RasterView

PICTURES = 3
"""So many layers are pictures: those that hold most energy."""

HISTOGRAMS = ("E", "width", "sparsity")

MEAN, COUNTED = 200, 1000
"""Showers of a mean, and in a histogram."""

WHOSE = ("truth", "teacher", "student")

ENTRIES = (
    Entry("Width", "Of the networks of voxels, teacher and student.", ("voxels.width",)),
    Entry("Layers", "Of the flow of voxels.", ("voxels.layers",)),
    Entry("Teacher's steps", "Of its training, at least.", ("voxel_training.min_steps",)),
    Entry("Student's steps", "Of its training, at least.", ("student.training.min_steps",)),
    Entry("Threshold [MeV]", "Voxels below it are empty.", ("threshold",), float, "from the data"),
    Entry("Seed", "Of all random numbers: another one shows how much is chance.", ("seed",)),
)
"""The form of the settings."""


def generation():
    """`clearview.generation`, loaded when first used: JAX takes a second."""
    return import_module("clearview.generation")


class ShowerPanel(base.Panel):
    """Showers of particles of an energy, the truth's, the teacher's and the student's, and how they are distributed.

    Above are the three layers that hold most of the energy, as pictures: one shower, or the mean of many. Below are
    histograms of one layer's energy, width and sparsity over particles of all energies. *Train* learns the showers.
    Mock showers are a stand-in by formulas, and are called so.

    Args:
        showers: to look at and to learn from, `clearview.calorimeter.Showers`.
        config: a `clearview.generation.ShowerConfig`; by default the fit's, or the defaults.
        fit: a `clearview.generation.ShowerFit` to begin with.
        size: side of each picture, CSS pixels.
        threaded: False draws and trains at once in the calling thread.

    Raises:
        TypeError: for showers, a config or a fit of another kind.
    """

    tags = ("energy", "whose", "shown", "number", "layer")
    given: ClassVar = {"config": "_told_config"}
    work: ClassVar = Work(file="showers.clearview", entries=ENTRIES, of="showers")

    def __init__(self, showers=None, config=None, fit=None, *, size: int = 220, threaded: bool = True):
        self._showers = a(showers, (Showers, type(None)), "Showers")
        a(fit, (generation().ShowerFit, type(None)), "a ShowerFit")
        self._usual = generation().ShowerConfig() if fit is None else fit.config
        config = a(self._usual if config is None else config, generation().ShowerConfig, "a ShowerConfig")
        self._kept: dict[str, tuple[Any, Any]] = {}
        super().__init__(None, fit, config=config, size=size, threaded=threaded)

    # ---- controls ------------------------------------------------------------------------------------------------

    def build(self) -> dict[str, Any]:
        size = self.view.width
        self.views = (self.view, *(RasterView(size, size) for _ in range(PICTURES - 1)),
                      *(RasterView(size, round(0.75 * size)) for _ in HISTOGRAMS))  # fmt: skip
        self._words = W.HTML(layout=W.Layout(max_width=f"{2 * size + 300}px"))
        self.below = (self._words,)
        return {
            "energy": slider("E [GeV]", 50.0, 1.0, 100.0, 1.0),
            "whose": Choice(WHOSE),
            "shown": Choice(("one shower", "mean")),
            "number": slider("another one", 0.0, 0.0, 50.0, 1.0, readout_format="d"),
            "layer": dropdown("Histograms", {"layer 0": 0}, 0),
        }

    def arrange(self) -> W.Widget:
        return self.in_columns([*self.controls.values(), self.bar, self.share], beside=173)  # for 10,000 MeV

    def update(self) -> None:
        controls = self.controls
        if self.bar.catalog is not self._showers:
            self.bar.catalog = self._showers
            self.bar.refresh()
        geometry = self._geometry()
        if geometry is not None:
            options = tuple((f"layer {k.number}", i) for i, k in enumerate(geometry.layers))
            if tuple(controls["layer"].options) != options:
                controls["layer"].options = options
        ends = self._ends()
        if ends is not None:
            control, (low, high) = controls["energy"], (float(f"{e / 1e3:.4g}") for e in ends)
            if (control.min, control.max) != (low, high):
                control.min, control.max = min(low, control.max), high
                control.min, control.step = low, float(f"{(high - low) / 100:.1g}") or 1.0
        lacking = {"truth": "There are no showers: pass some."} if self._showers is None else {}
        if not self.shows_fit():
            why = "Nothing is learnt yet: press Train." if self.fit is None else "The fit is of another calorimeter."
            lacking |= dict.fromkeys(WHOSE[1:], why)
        controls["whose"].disable(lacking)
        controls["number"].layout.display = "" if controls["shown"].value == "one shower" else "none"

    # ---- what one works with -------------------------------------------------------------------------------------

    @property
    def catalog(self):
        """The showers; others make the fit stale, not wrong."""
        return self._showers

    @catalog.setter
    def catalog(self, showers):
        self._showers = a(showers, (Showers, type(None)), "Showers")
        self._refresh()

    def code(self) -> str:
        lines = ["import clearview"]
        given = []
        if self._showers is not None:
            lines.append(f"showers = ...  # {len(self._showers):,}: {self._showers.source}")
            given.append("showers")
        if self.fit is not None:
            kept, file = self.bar.file
            path = repr(str(file)) if kept is self.fit else '"showers.clearview"'
            lines.append(f"fit = clearview.load_showers({path})")
            given.append("fit=fit")
        changed = {k: v for k, v in self.settings.items() if k != "range" and v != self.at_first[k]}
        lines.append(f"panel = clearview.ShowerPanel({', '.join([*given, 'threaded=False'])})")
        lines += [f"panel.set({', '.join(f'{k}={v!r}' for k, v in changed.items())})"] * bool(changed)
        return "\n".join([*lines, 'panel.save_figure("picture.png")', ""])

    # ---- what is learnt ------------------------------------------------------------------------------------------

    @property
    def _told_config(self):
        return self.config if self.config != self._usual else None

    def learner(self) -> Learner | str:
        """What *Train* fits: the showers, by `clearview.generation.fit_showers`."""
        if self._showers is None:
            return "Training needs showers."

        def run(showers, *, config=None, on_progress=None, resume=None, **_):
            return generation().fit_showers(showers, config, on_progress=on_progress, resume=resume)

        return Learner(
            run, lambda fit, path, overwrite: fit.save(path, overwrite=overwrite),
            lambda path: generation().load_showers(path), defaults=lambda: generation().ShowerConfig(), name="showers",
        )  # fmt: skip

    def usable(self, fit) -> bool:
        if not isinstance(fit, generation().ShowerFit):
            raise ValueError(f"Expected a fit of showers, got {type(fit).__name__}; train or load one here.")
        return fit.stopped == "finished" and self._same_calorimeter(fit)

    def _same_calorimeter(self, fit) -> bool:
        return self._showers is None or fit.geometry.digest == self._showers.geometry.digest

    def shows_fit(self) -> bool:
        return self.fit is not None and self._same_calorimeter(self.fit)

    # ---- pictures ------------------------------------------------------------------------------------------------

    def _geometry(self):
        known = self._showers if self._showers is not None else self.fit
        return None if known is None else known.geometry

    def _ends(self) -> tuple[float, float] | None:
        """Energies that can be asked for, MeV."""
        if self.shows_fit():
            return self.fit.energies
        if self._showers is None:
            return None
        return float(self._showers.energies.min()), float(self._showers.energies.max())

    def _cached(self, name: str, key: tuple, make):
        """What was made last of these things, or is made now."""
        known, value = self._kept.get(name, ((), None))
        if len(known) != len(key) or any(k is not v and k != v for k, v in zip(known, key, strict=True)):
            value = make()
            self._kept[name] = key, value
        return value

    def _at(self, settings) -> Showers | str:
        """The showers of the pictures."""
        energy, one = 1e3 * settings["energy"], settings["shown"] == "one shower"
        number, whose, fit = round(settings["number"]), settings["whose"], self.fit
        if whose == "truth":
            E = self._showers.energies
            near = np.argsort(np.abs(E - energy), kind="stable")
            near = near[:MEAN][np.abs(E[near[:MEAN]] / energy - 1) < 0.1]
            chosen = near[number : number + 1] if one else near
            more = "more " if len(near) else ""
            return self._showers[chosen] if len(chosen) else f"There are no {more}showers within 10 % of this energy."
        many = 1 if one else MEAN
        energy = float(np.clip(energy, *fit.energies))  # the slider's ends are rounded
        return self._cached("drawn", (fit, energy, number, whose, many), lambda: fit.sample(
            np.full(many, energy), seed=number if one else 0, by=whose))  # fmt: skip

    def draw(self, settings: Mapping[str, Any], detail: float):
        if self._geometry() is None:
            return "No showers yet: pass some."
        if settings["whose"] == "truth" and self._showers is None:
            return "No showers yet: pass some, or choose the student's."
        return self._pictures(settings)

    def _pictures(self, settings) -> Iterator[Any]:
        """The layers, then the histograms."""
        geometry: Any = self._geometry()
        shown = self._at(settings)
        self.tell("shown", shown if isinstance(shown, str) else "")
        most = self._cached("most", (self._showers, self.fit), self._brightest)
        for i in range(PICTURES):
            if i >= len(most) or isinstance(shown, str):
                yield hv.Overlay([text(0.0, 0.0, "no layer" if i >= len(most) else "none")])
                continue
            layer, voxels = geometry.layers[most[i]], shown.voxels[:, geometry.slices[most[i]]].mean(0)
            top = 0.5e3 * settings["energy"]
            energy = f"{voxels.sum() / 1e3:.3g} of {shown.energies.mean() / 1e3:.3g} GeV"
            yield layer_image(layer, voxels, limits=(1e-4 * top, top), label=f"Layer {layer.number}: {energy}")
        tables = self._tables(settings["whose"])
        number = geometry.layers[settings["layer"]].number
        for name in HISTOGRAMS:
            column = f"{name}_{number}"
            samples = {k: table[column].to_numpy() for k, table in tables.items()}
            if any(np.isfinite(v).any() for v in samples.values()):
                title = f"Layer {number}: {FEATURES[name][0]}, all energies"
                yield feature_histogram(column, samples, label=title)
            else:
                yield hv.Overlay([text(0.0, 0.0, "nothing here")])

    def _brightest(self) -> list[int]:
        known = self._showers if self._showers is not None else self.fit.sample(np.full(MEAN, self.fit.energies[1]))
        order = np.argsort(-known.layer_energies.mean(0))[:PICTURES]
        return sorted(int(i) for i in order)

    def _tables(self, whose: str) -> dict[str, Any]:
        """Features of the truth and the student, and of the teacher once it is asked for."""
        showers, fit, tables = self._showers, self.fit if self.shows_fit() else None, {}
        low, high = (0.0, np.inf) if fit is None else fit.energies
        E = np.linspace(low, high, COUNTED) if showers is None else showers.energies
        inside = np.flatnonzero((low * (1 - 1e-6) <= E) & (high * (1 + 1e-6) >= E))
        alone = not len(inside)
        inside = np.arange(len(E)) if alone else inside
        some = inside[np.linspace(0, len(inside) - 1, min(COUNTED, len(inside))).astype(int)]  # files may go by energy
        if showers is not None:
            tables["truth"] = self._cached("truth", (showers, fit), lambda: showers[some].features())
        self.tell("range", "The fit knows none of the energies of these showers." if alone else "")
        if fit is None or alone:
            return tables
        E = E[some]
        if whose == "teacher":
            tables["teacher"] = self._cached("teacher", (fit, showers), lambda: fit.sample(E, by="teacher").features())
        tables["student"] = self._cached("student", (fit, showers), lambda: fit.sample(E).features())
        return tables

    def beside(self, settings) -> None:
        """What the showers are, in a sentence below the pictures."""
        parts = (
            [] if self._showers is None else [f"Truth: {self._showers.source or 'showers'} ({len(self._showers):,})."]
        )
        parts += [] if self.fit is None else [self.fit.message]
        self._words.value = "".join(map(small, parts))
