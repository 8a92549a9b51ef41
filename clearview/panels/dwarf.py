"""A dwarf galaxy: its stars on the sky and in velocity, and the halo that a fit finds around them."""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, ClassVar

import holoviews as hv
import ipywidgets as W
import numpy as np
import pandas as pd
import xarray as xr

from clearview.catalogs import Catalog
from clearview.checks import a
from clearview.figures import dwarf_profile, path, star_map, text
from clearview.figures.dwarfs import PROFILES
from clearview.figures.style import Named, dimension, layers, number, round_step
from clearview.halos import NFW, Burkert
from clearview.panels import base
from clearview.panels.controls import Choice, dropdown, sentence, slider, small, tick
from clearview.panels.form import Entry
from clearview.panels.share import code_of
from clearview.panels.train import Learner, Work
from clearview.panels.view import RasterView

SHOWN = ("Sigma", "sigma_los", "rho", "M")
"""The profiles, in the order of their views."""

FEWEST = 30
"""Stars; see `clearview.dwarfs.fit_dwarf`."""

POINTS = 64
REFERENCE = 4.0
"""Scale radius of the halos that are drawn to compare, in half-light radii."""

PIVOT = 1.7
"""Half-light radii within which they have the mass that the stars tell."""

ANISOTROPY = {
    "given (0: isotropic)": "given", "constant, learnt": "constant", "Osipkov-Merritt, learnt": "osipkov-merritt",
    "free": "free",
}  # fmt: skip


ROUTES = {"Jeans (fast)": "jeans", "JFlow (minutes)": "jflow"}

STAGES = {"optimum": "looking for the best halo", "chains": "drawing halos", "galaxy": "learning the galaxy"}
"""What a fit does, in words."""

TRADED = "A learnt β can stand in for mass: train with a given one, too, and compare."

ENTRIES = (
    Entry("Distance [kpc]", "Of the galaxy; the J-factor follows.", ("distance",), float, "unknown"),
    Entry("J within [deg]", "Radius of the cone of the J-factor.", ("angle",), float),
    Entry("Field [kpc]", "Radius on the sky beyond which no star could be seen.", ("radius",), float, "no limit"),
    Entry("Moments", "Of the velocities at each R: 4 have a kurtosis, 2 take them as Gaussian.", ("moments",)),
    Entry("Chains", "Markov chains; their draws are put together.", ("chains",)),
    Entry("Warm-up", "Draws of each chain that are thrown away; more where chains do not agree.", ("warmup",)),
    Entry("Draws", "Of each chain, kept; more make the bands surer.", ("draws",)),
    Entry("Trainings", "Of JFlow, each of other stars drawn from these; their spread is the band.", ("members",)),
    Entry("Steps", "Of JFlow's training, at least.", ("training.min_steps",)),
    Entry("Seed", "Of all random numbers: another one shows how much is chance.", ("seed",)),
)
"""The form of the settings that have no slider."""


def dwarfs():
    """`clearview.dwarfs`, loaded when first used: JAX takes a second."""
    return import_module("clearview.dwarfs")


@dataclasses.dataclass(frozen=True, eq=False)
class _Dwarf:
    """A fit, as a bar keeps it."""

    fit: Any

    config = property(lambda self: self.fit.config)
    data_digest = property(lambda self: self.fit.digest)
    message = property(lambda self: self.fit.message)
    stars = property(lambda self: self.fit.stars)
    stopped = property(lambda self: self.fit.stopped)
    history = property(lambda self: getattr(self.fit, "history", pd.DataFrame()))

    def same_stars(self, catalog) -> bool:
        """Whether these stars are those of the fit."""
        return dwarfs().stars.digest_of(catalog) == self.fit.digest

    @property
    def title(self) -> str:
        """As it stands among the runs."""
        config = self.fit.config
        told = f"β = {config.beta:g}".replace("-", "−") if config.anisotropy_radius is None else "Osipkov-Merritt"
        if _route(config) == "jflow":
            return f"{self.fit.stars:,} stars, JFlow, {told}"
        kind = next(words for words, name in ANISOTROPY.items() if name == config.anisotropy).split(",")[0]
        return f"{self.fit.stars:,} stars, {told if config.anisotropy == 'given' else kind}"


class DwarfPanel(base.Panel):
    """The stars of a dwarf galaxy, and the profiles of their density, dispersion, dark matter and mass.

    Without a fit the stars are shown in bins (of as many stars each; a cross reaches over its bin and over one standard
    error, and dispersions are free of the velocities' errors), beside the truth if they are a mock, and the mass that
    two published formulas give. *Train* fits the halo, by one of two routes: Jeans' equation and Markov chains, whose
    bands hold 68 and 95 % of the posterior, or JFlow's smeared likelihood, whose bands are the spread of a few
    trainings. The figure is called stale when stars or settings are others than those of the fit.

    Args:
        catalog: the stars, as `clearview.fit_dwarf` takes them: R, or x and y [kpc]; v_los and v_los_error [km/s].
        config: a `clearview.DwarfConfig` or a `clearview.dwarfs.JFlowConfig`; by default the fit's, or
            the former's defaults.
        fit: a `clearview.dwarfs.DwarfFit` or `clearview.dwarfs.JFlowFit` to begin with.
        published: what others found, `clearview.dwarfs.Published`, such as ``published_of("Draco")``.
        size: longer side of each plot, CSS pixels.
        threaded: False draws and trains at once in the calling thread.

    Raises:
        KeyError: if the stars have no place or velocity.
        TypeError: for a config, a fit or published values of another kind.
    """

    tags = (
        "stars", "route", "bandwidth", "slope", "gamma", "anisotropy", "beta", "foreground", "colour", "truth",
        "references",
    )  # fmt: skip
    given: ClassVar = {"config": "_told_config", "published": "_told_published"}
    work: ClassVar = Work(file="dwarf.clearview", pausable=False, entries=ENTRIES)

    def __init__(
        self, catalog=None, config=None, fit=None, *, published: Iterable[Any] = (), size: int = 228,
        threaded: bool = True,
    ):  # fmt: skip
        if catalog is not None:
            a(catalog, Catalog, "a Catalog").require([*(["R"] if "R" in catalog else ["x", "y"]), _velocity(catalog)])
        kind = dwarfs().Published
        listed = [published] if isinstance(published, kind) else a(published, Iterable, "a list of Published")
        self.published = tuple(a(one, kind, "what was published as clearview.dwarfs.Published") for one in listed)
        self._usual = {"jeans": dwarfs().DwarfConfig(), "jflow": dwarfs().JFlowConfig()}
        kinds = (dwarfs().DwarfConfig, dwarfs().JFlowConfig)
        kept = None if fit is None else self._wrapped(fit)
        usual = self._usual["jeans"] if kept is None else kept.config
        config = a(usual if config is None else config, kinds, "a DwarfConfig or a JFlowConfig")
        self._whole_catalog, self._order = catalog, None
        self._start, self._before, self._of = config, config, catalog
        self._last = {**self._usual, _route(config): config}  # the settings of each route
        self._taken = _route(config)
        self._kept: dict[str, tuple[Any, Any]] = {}
        super().__init__(catalog, kept, config=config, size=size, threaded=threaded)

    # ---- controls ------------------------------------------------------------------------------------------------

    def build(self) -> dict[str, Any]:
        size = self.view.width
        self.views = (self.view, RasterView(size, size), *(RasterView(size, round(0.75 * size)) for _ in SHOWN))
        self._words = W.HTML(layout=W.Layout(max_width=f"{2 * size + 300}px"))
        self.below = (self._words,)
        controls: dict[str, Any] = {
            "stars": slider("stars used", 100.0, FEWEST, 100.0, 1.0, readout_format=",.0f"),
            "route": dropdown("Method", ROUTES, "jeans"),
            "bandwidth": slider("bandwidth", 0.1, 0.02, 0.5, 0.01),
            "slope": dropdown("Stars' centre", {"slope learnt": "learnt", "slope fixed": "fixed"}, "learnt"),
            "gamma": slider("slope, 0: core", 0.0, 0.0, 1.5, 0.05),
            "anisotropy": dropdown("Anisotropy", ANISOTROPY, "given"),
            "beta": slider("β", 0.0, -1.0, 0.9, 0.05),
            "foreground": tick("foreground stars among them", False),
            "colour": Choice(("velocity", "membership")),
            "truth": tick("truth of the mock", True),
            "references": tick("a cusp and a core to compare", False),
        }
        controls[
            "bandwidth"
        ].tooltip = "Of the kernels at the end, in half-light radii on the sky and in velocity dispersions."
        self._traded = W.HTML(small(TRADED), layout=W.Layout(width="300px"))
        self._stock(controls["stars"], self._whole_catalog)
        self._follow(controls, self._start)
        return controls

    def arrange(self) -> W.Widget:
        shown, names = list(self.controls.values()), list(self.controls)
        shown.insert(names.index("colour"), W.HTML(small("Colour of the stars")))
        shown.insert(names.index("anisotropy") + 1, self._traded)
        return self.in_columns([*shown, self.bar, self.share])

    def update(self) -> None:
        controls, config = self.controls, self._config
        if self._whole_catalog is not self._of:
            self._of = self._whole_catalog
            self._stock(controls["stars"], self._of)
            self._home()
        if config is not self._before:
            self._follow(controls, config)
        elif controls["route"].value != _route(config):
            self.bar.config = config = self._switched(config, controls["route"].value)
            self._follow(controls, config)
        else:
            asked = self._asked(config)
            if any(getattr(config, name) != value for name, value in asked.items()):
                self.bar.config = config = dataclasses.replace(config, **asked)
        self._taken = _route(config)
        self._last[self._taken] = config
        self._before = config
        used = self._used()
        if used is not self.bar.catalog or config is not self._refreshed:
            self.bar.catalog, self._refreshed = used, config
            self.bar.refresh()
        for name, shown in (
            ("bandwidth", self._taken == "jflow"), ("gamma", controls["slope"].value == "fixed"),
            ("anisotropy", self._taken == "jeans"), ("beta", _given(config) and config.anisotropy_radius is None),
        ):  # fmt: skip
            controls[name].layout.display = "" if shown else "none"
        self._traded.layout.display = "none" if _given(config) else ""
        fit = self._own()
        lacking = "" if _membership(fit) is not None else "Membership needs a fit of these stars with a foreground."
        controls["colour"].disable({"membership": lacking} if lacking else {})
        controls["truth"].layout.display = "" if self._truth() is not None else "none"
        sky = self._of is None or ("x" in self._of and "y" in self._of)
        self.view.layout.display = "" if sky else "none"

    _refreshed: Any = None

    @staticmethod
    def _stock(control, catalog) -> None:
        """The slider of the number of stars, at all of them."""
        most = float(max(FEWEST + 1, 100 if catalog is None else len(catalog)))
        control.max = max(most, control.value)
        control.value = most
        control.max, control.step = most, max(1.0, round_step(most / 100))
        control.disabled = catalog is None or len(catalog) <= FEWEST

    def _asked(self, config) -> dict[str, Any]:
        """What the controls say of the fields of a config."""
        values = {name: control.value for name, control in self.controls.items()}
        learnt, gamma, beta = values["slope"] == "learnt", round(values["gamma"], 9), round(values["beta"], 9)
        asked: dict[str, Any] = {"beta": beta, "foreground": values["foreground"]}
        if _route(config) == "jeans":
            asked |= {"tracer_slope": None if learnt else gamma, "anisotropy": values["anisotropy"]}
            if asked["anisotropy"] != "given":
                asked |= {"beta": config.beta, "anisotropy_radius": None}
            return asked
        if config.anisotropy_radius is not None:
            asked["beta"] = config.beta
        start = config.tracers.slope if 0 < config.tracers.slope < 2 else 0.5
        tracers = dataclasses.replace(config.tracers, slope=start if learnt else gamma, learn_slope=learnt)
        end = round(values["bandwidth"], 9)
        return asked | {"tracers": tracers, "bandwidth": (max(config.bandwidth[0], end), end)}

    def _switched(self, config, route: str):
        """The settings of the other route, with the anisotropy of this one where both are given."""
        other = self._last[route]
        if _given(config) and _given(other):
            # Jeans takes a radius beside a β that it does not use, and a β that is farther down.
            beta = 0.0 if config.anisotropy_radius is not None else max(config.beta, dwarfs().smeared.LOWEST)
            other = dataclasses.replace(other, beta=beta, anisotropy_radius=config.anisotropy_radius)
        return other

    @staticmethod
    def _follow(controls, config) -> None:
        """The controls of a config that was set from elsewhere."""
        jeans = _route(config) == "jeans"
        slope = config.tracer_slope if jeans else None if config.tracers.learn_slope else config.tracers.slope
        controls["route"].value = _route(config)
        controls["slope"].value = "learnt" if slope is None else "fixed"
        if slope is not None:
            controls["gamma"].max = max(1.5, slope)
            controls["gamma"].value = slope
        if jeans:
            controls["anisotropy"].value = config.anisotropy
        else:
            control, end = controls["bandwidth"], config.bandwidth[1]
            control.min, control.max = min(0.02, end), max(0.5, end)
            control.value = end
        controls["beta"].min, controls["beta"].max = min(-1.0, config.beta), max(0.9, config.beta)
        controls["beta"].value = config.beta
        controls["foreground"].value = config.foreground

    # ---- what one works with -------------------------------------------------------------------------------------

    @property
    def catalog(self):
        """All stars, of which the slider may use a part; other stars make the fit stale, not wrong."""
        return self._whole_catalog

    @catalog.setter
    def catalog(self, catalog):
        if catalog is not None:
            a(catalog, Catalog, "a Catalog").require([*(["R"] if "R" in catalog else ["x", "y"]), _velocity(catalog)])
        self._whole_catalog, self._order = catalog, None
        self._refresh()

    @property
    def fit(self):
        """The `clearview.dwarfs.DwarfFit` or `clearview.dwarfs.JFlowFit` that is shown, or None."""
        return None if self.bar.fit is None else self.bar.fit.fit

    @fit.setter
    def fit(self, fit):
        self.bar.adopt(None if fit is None else self._wrapped(fit))
        self._refresh()

    @property
    def runs(self) -> dict[str, Any]:
        """The finished fits of this session by name, at most eight; ``panel.fit = panel.runs[name]`` shows one."""
        return {name: kept.fit for name, kept in self.bar.runs.items()}

    def code(self) -> str:
        code, (kept, file) = code_of(self), self.bar.file
        if self.fit is not None and kept is self.bar.fit:
            read = "clearview.load_dwarf" if _route(self.fit.config) == "jeans" else "load_jflow"
            code = re.sub(r"(?<=fit = ).*", f"{read}({str(file)!r})", code)
        code = code.replace("clearview.load_fit(", "clearview.load_dwarf(").replace("fit.clearview", "dwarf.clearview")
        code = code.replace("(stars, fit,", "(stars, fit=fit,")
        config, usual = self._config, self._usual[self._taken]
        changed = [f.name for f in dataclasses.fields(config) if getattr(config, f.name) != getattr(usual, f.name)]
        made = f"{type(config).__name__}({', '.join(f'{name}={getattr(config, name)!r}' for name in changed)})"
        homes = {"dwarfs": ("JFlowConfig", "SphericalConfig", "load_jflow"), "flows": ("FitConfig",)}
        told = code.replace("config = ...  # config of this panel", f"config = {made}")
        needed = {home: [name for name in names if f"{name}(" in told] for home, names in homes.items()}
        imports = "".join(f"from clearview.{home} import {', '.join(n)}\n" for home, n in needed.items() if n)
        told = told.replace("config = DwarfConfig(", "config = clearview.DwarfConfig(")
        return told.replace("import clearview\n", f"import clearview\n{imports}", 1)

    # ---- what is learnt ------------------------------------------------------------------------------------------

    @property
    def _config(self):
        """The settings, also where none were given."""
        return self._usual[self._taken] if self.config is None else self.config

    @property
    def _told_config(self):
        usual = self._usual["jeans"] if self.fit is None else self.fit.config
        return self._config if self._config != usual else None

    @property
    def _told_published(self):
        return {one.name: one for one in self.published}

    def _wrapped(self, fit) -> _Dwarf:
        a(fit, (dwarfs().DwarfFit, dwarfs().JFlowFit), "a DwarfFit or a JFlowFit")
        known = self.bar.runs.values() if hasattr(self, "bar") else ()
        return next((kept for kept in known if kept.fit is fit), _Dwarf(fit))

    def _used(self):
        """The stars of the slider: the first so many in an order drawn once, so that fewer are among more."""
        catalog, n = self._whole_catalog, round(self.controls["stars"].value)
        if catalog is None or n >= len(catalog):
            return catalog
        if self._order is None:
            self._order = np.random.default_rng(0).permutation(len(catalog))
        order = self._order
        return self._cached("used", (catalog, n), lambda: catalog.take(order < n))

    def learner(self) -> Learner | str:
        """What *Train* fits: the halo, by `clearview.fit_dwarf` or `clearview.dwarfs.fit_jflow`."""
        if self._whole_catalog is None:
            return "Training needs a catalogue of stars."

        def fit(catalog, *, config=None, on_progress=None, **_):
            def tell(progress):
                words = STAGES.get(progress.stage, progress.stage)
                return on_progress is None or on_progress(progress._replace(stage=words))

            config = config or self._config
            run = dwarfs().fit_dwarf if _route(config) == "jeans" else dwarfs().fit_jflow
            return self._wrapped(run(catalog, config, on_progress=tell))

        def save(kept, path, overwrite):
            kept.fit.save(path, overwrite=overwrite)

        def read(path):
            from clearview.flows.checkpoint import OtherVersion  # with JAX, as `dwarfs`

            try:
                return self._wrapped(dwarfs().load_dwarf(path))
            except OtherVersion as error:
                if error.kind != "jflow":
                    raise
                return self._wrapped(dwarfs().load_jflow(path))

        return Learner(
            fit, save, read, defaults=lambda: self._config,
            name="dwarf" if self._taken == "jeans" else "dwarf by JFlow",
        )  # fmt: skip

    def usable(self, fit) -> bool:
        if not isinstance(fit, _Dwarf):
            raise ValueError(f"Expected a fit of a dwarf galaxy, got {type(fit).__name__}; train or load one here.")
        return fit.stopped == "finished"

    def _own(self):
        """The fit, if it is of the stars that are used."""
        known = self.bar.fit is not None and self.bar.catalog is not None
        return self.fit if known and self.bar._same_stars(self.bar.fit) else None

    # ---- pictures ------------------------------------------------------------------------------------------------

    def _cached(self, name: str, key: tuple, make):
        """What was made last of these things, or is made now."""
        known, value = self._kept.get(name, (None, None))
        if known is None or len(known) != len(key) or not all(
            k is v or (isinstance(k, int | float | str) and k == v) for k, v in zip(known, key, strict=True)
        ):  # fmt: skip
            value = make()
            self._kept[name] = key, value
        return value

    def _truth(self):
        catalog = self._whole_catalog
        return None if catalog is None else import_module("clearview.mocks").dwarf_truth_of(catalog)

    def _reach(self, fit) -> tuple[float, float]:
        """Half-light radius and what holds nearly all stars, kpc, the same for fewer of them."""
        catalog = self._whole_catalog
        if catalog is None:
            return fit.half_light_radius, 5 * fit.half_light_radius
        R = self._cached("R", (catalog,), lambda: _radii(catalog))
        half, far = (float(v) for v in np.nanquantile(R, [0.5, 0.985]))
        return (half, 1.05 * far) if half > 0 else (0.1, 1.0)

    def _binned(self, catalog, slot: str = "bins"):
        """The stars in bins, weighted by membership where it is known; or why there are none."""
        foreground = self.controls["foreground"].value
        weights = _membership(self._own()) if foreground else None
        # Those that the fit counted, of which there may be none in another catalogue; JFlow counts all.
        places = getattr(self._config if self.fit is None else self.fit.config, "places", "all")
        if np.isfinite(_column(catalog, _velocity(catalog), "km/s", "").values).all():
            places = "all"

        def make():
            try:
                return dwarfs().bin_stars(catalog, weights, foreground=foreground, places=places)
            except (KeyError, ValueError) as error:
                return sentence(error)

        return self._cached(slot, (catalog, weights, str(foreground), places), make)

    def draw(self, settings: Mapping[str, Any], detail: float):
        catalog, fit = self._used(), self.fit
        if catalog is None and fit is None:
            return "No stars yet: pass those of a dwarf galaxy."
        return self._pictures(catalog, fit, settings)

    def _pictures(self, catalog, fit, settings) -> Iterator[Any]:
        """Sky, velocities, and the profiles, one after the other."""
        bins = None if catalog is None else self._binned(catalog)
        self.tell("bins", bins if isinstance(bins, str) else "")
        bins = None if isinstance(bins, str) else bins
        half, far = self._reach(fit)
        ends = 0.1 * half, max(5 * half, far)
        field = None if fit is None else self._cached(
            "field", (fit, *ends), lambda: fit.field(np.geomspace(ends[0], ends[1], POINTS)))  # fmt: skip
        if catalog is None:
            blank = hv.Overlay([text(0.5, 0.5, "no stars")])
            yield blank
            yield blank
        else:
            # Colours and axes stay while stars are left out, but for a foreground, whose members only a fit knows.
            known = _membership(self._own()) is not None
            whole = bins if known else self._binned(self._whole_catalog, "all bins")
            yield from self._stars(catalog, field, None if isinstance(whole, str) else whole, far, settings)
        truth = self._curves(ends) if settings["truth"] and self._truth() is not None else {}
        estimates = () if bins is None else self._cached(
            "masses", (bins,), lambda: dwarfs().mass_estimates(
                bins.attrs["half"], bins.attrs["spread"], bins.attrs["spread_error"]))  # fmt: skip
        references = self._references(fit, estimates, half, ends) if settings["references"] else {}
        bands = ""
        if fit is not None:
            bands = " (bands: 68 %, 95 %)" if _route(fit.config) == "jeans" else " (bands: spread of trainings)"
        titles = {"Sigma": "Stars per area", "sigma_los": "Velocity dispersion", "rho": f"Dark matter{bands}",
                  "M": "Mass"}  # fmt: skip
        for name in SHOWN:
            told = [one for one in (*estimates, *self.published) if one.values(name) is not None]
            seen = bins if name in ("Sigma", "sigma_los") else None
            if field is None and seen is None and not truth and not told:
                words = "press Train" if name in ("rho", "M") else "no bins"
                yield _blank(name, ends, titles[name], words)
                continue
            masses = estimates if told or references else None  # the references have the mass that these tell
            key = field, seen, truth.get(name), str(settings["references"]), masses, *ends
            yield self._cached(
                f"picture of {name}", key, lambda name=name, seen=seen, told=told: dwarf_profile(
                    name, field, bins=seen, truth=truth.get(name), references=references.get(name), range=ends,
                    published=told, label=titles[name]))  # fmt: skip

    def _stars(self, catalog, field, bins, far: float, settings) -> Iterator[hv.Overlay]:
        """On the sky, and in velocity against radius."""
        v = _column(catalog, _velocity(catalog), "km/s", "line-of-sight velocity")
        center = float(np.nanmedian(v)) if bins is None else bins.attrs["center"]
        member = _membership(self._own())
        if settings["colour"] == "membership" and member is not None:
            colour = xr.DataArray(
                np.asarray(member, float), dims="star", name="p", attrs={"long_name": "membership", "units": ""}
            )
            limits: tuple[float, float] = 0.0, 1.0
        else:
            colour = (v - center).rename("dv").assign_attrs(long_name="velocity − mean", units="km/s")
            width = 20.0 if bins is None else 2.5 * float(np.hypot(bins.attrs["spread"], 1.0))
            limits = -width, width
        if "x" in catalog and "y" in catalog:
            x, y = (_column(catalog, name, "kpc", name) for name in ("x", "y"))
            known = int(np.isfinite(v.values).sum())
            beyond = int((np.maximum(np.abs(x.values), np.abs(y.values)) > far).sum())
            more = f", {known:,} with velocities" if known < len(catalog) else ""
            more += f"; {beyond:,} {'lies' if beyond == 1 else 'lie'} farther out" if beyond else ""
            x.attrs["limits"] = y.attrs["limits"] = -far, far
            sky = star_map(x, y, colour, limits=limits, label=f"{len(catalog):,} stars{more}")
            yield sky
        else:
            yield hv.Overlay([text(0.5, 0.5, "no places on the sky")])
        R = xr.DataArray(_radii(catalog), dims="star", name="R", attrs={"units": "kpc", "long_name": "R on the sky"})
        known = np.isfinite(v.values)
        every = _column(self._whole_catalog, _velocity(catalog), "km/s", "").values
        most = np.inf if bins is None else 6 * bins.attrs["spread"]
        reach = 1.08 * min(float(np.nanmax(np.abs(every - center))), most) if np.isfinite(every).any() else 50.0
        R.attrs["limits"], v.attrs["limits"] = (0.0, far), (center - reach, center + 1.2 * reach)
        parts = layers(star_map(R[known], v[known], colour[known], limits=limits))
        if field is not None:
            sigma = field["sigma_los"].sel(quantile=0.5)
            at, up = sigma["R"].values, sigma.values
            parts.append(path(np.r_[at, np.nan, at], center + np.r_[up, np.nan, -up], "± dispersion of the fit"))
        yield hv.Overlay(parts, label="Velocities")

    def _curves(self, ends) -> dict[str, xr.DataArray]:
        """The truth of a mock along the profiles."""
        truth: Any = self._truth()

        def make():
            r = np.geomspace(ends[0], ends[1], POINTS)
            values = {"Sigma": truth.surface_density, "sigma_los": truth.sigma_los, "rho": truth.density,
                      "M": truth.mass}  # fmt: skip
            return {k: _profile(k, r, compute(r)) for k, compute in values.items()}

        return self._cached("truth", (truth, *ends), make)

    @staticmethod
    def _references(fit, estimates, half: float, ends) -> dict[str, dict[str, xr.DataArray]]:
        """A cusp and a core of the same mass within `PIVOT` half-light radii."""
        at = PIVOT * half
        if fit is not None:
            mass = float(np.median(fit.mass(np.array([at]))))
        elif estimates:
            mass = estimates[0].mass * at / estimates[0].radius
        else:
            return {}
        r, found = np.geomspace(ends[0], ends[1], POINTS), {"rho": {}, "M": {}}
        for words, kind in (("NFW: a cusp", NFW), ("Burkert: a core", Burkert)):
            one = kind(1.0, REFERENCE * half)
            halo = kind(mass / float(one.mass(at)), REFERENCE * half)
            found["rho"][words] = _profile("rho", r, halo.density(r))
            found["M"][words] = _profile("M", r, halo.mass(r))
        return found

    def beside(self, settings) -> None:
        """What the fit and others say, in sentences below the pictures."""
        fit = self.fit
        said = "" if fit is None else self._cached("words", (fit,), lambda: "".join(map(small, _said(fit))))
        self._words.value = said + "".join(map(small, _told(self.published)))


def _route(config) -> str:
    """Which of `ROUTES` a config is of."""
    return "jflow" if isinstance(config, dwarfs().JFlowConfig) else "jeans"


def _given(config) -> bool:
    """Whether the anisotropy is not learnt."""
    return _route(config) == "jflow" or config.anisotropy == "given"


def _membership(fit) -> np.ndarray | None:
    """Of each star, if the fit knows a foreground."""
    return fit.membership if fit is not None and fit.config.foreground else None


def _said(fit) -> list[str]:
    """Core or cusp, the mass, the J-factor where the distance is known, and how far to trust them."""
    at, jeans = PIVOT * fit.half_light_radius, _route(fit.config) == "jeans"
    parts = [fit.core_or_cusp().message]
    low, middle, high = np.quantile(fit.mass(np.array([at])), [0.16, 0.5, 0.84], method="weibull")  # as its fields
    power = 10.0 ** np.floor(np.log10(middle))
    parts.append(
        f"The mass within {at:.2g} kpc is {middle / power:.2f} (+{(high - middle) / power:.2f} "
        f"-{(middle - low) / power:.2f}) × {number(power)} M⊙."
    )
    if fit.config.distance is not None:
        low, middle, high = np.log10(fit.field().J.sel(quantile=[0.16, 0.5, 0.84]).values)
        parts.append(f"log10 of J within {fit.config.angle:g}° [GeV² cm⁻⁵] is {middle:.2f} (+{high - middle:.2f} "
                     f"-{middle - low:.2f}).")  # fmt: skip
    if not jeans:
        parts.append(f"The bands are the spread of {fit.config.members} trainings, each of other stars drawn from "
                     "these and of other priors: a rough error, no posterior.")  # fmt: skip
    elif fit.converged:
        parts.append(f"The chains agree (R-hat {fit.rhat:.3f}); their draws are worth {fit.effective:,.0f} independent "
                     "ones.")  # fmt: skip
    else:
        parts.append(f"NOT CONVERGED: R-hat is {fit.rhat:.3f}, and the draws are worth {fit.effective:,.0f} "
                     "independent ones. Do not trust the bands; raise Warm-up and Draws under Settings.")  # fmt: skip
    return [re.sub(r"-(?=[\d.])", "−", part).replace("R−", "R-") for part in parts]


def _told(published) -> list[str]:
    """Slopes that others found, and whose the published values are."""
    slopes = [f"{one.name} {one.slope[0]:.2f} ({one.slope[1]:.2f} to {one.slope[2]:.2f})" for one in published
              if one.slope is not None]  # fmt: skip
    sources = dict.fromkeys(f"{one.source} ({one.note})" if one.note else one.source for one in published if one.source)
    parts = [f"Published slopes near the centre: {', '.join(slopes)}."] if slopes else []
    parts += [f"Published: {'; '.join(sources)}."] if sources else []
    return [re.sub(r"(?<=[ (])-(?=[\d.])", "−", part) for part in parts]


def _velocity(catalog) -> str:
    """The column of velocities."""
    return next((name for name in ("v_los", "radial_velocity", "vz") if name in catalog), "v_los")


def _radii(catalog) -> np.ndarray:
    """(N,) kpc from the centre on the sky."""
    if "R" in catalog:
        return _column(catalog, "R", "kpc", "R").values
    return np.hypot(*(_column(catalog, name, "kpc", name).values for name in ("x", "y")))


def _column(catalog, name: str, unit: str, words: str) -> xr.DataArray:
    # Velocities come in km/s, but R as it was given.
    values = dwarfs().stars.kpc(catalog, name) if unit == "kpc" else np.ma.filled(
        np.ma.asarray(catalog[name], float), np.nan)  # fmt: skip
    return xr.DataArray(values, dims="star", name=name, attrs={"units": unit, "long_name": words})


def _profile(name: str, r: np.ndarray, values) -> xr.DataArray:
    axis = PROFILES[name][0]
    return xr.DataArray(np.asarray(values, float), {axis: (axis, r)}, [axis], name)


def _blank(name: str, ends, title: str, words: str) -> hv.Overlay:
    """Axes without anything, and why."""
    axis, scale, label, unit = PROFILES[name]
    limits = {"rho": (1e6, 1e10), "M": (1e5, 1e9), "Sigma": (1.0, 1e4), "sigma_los": (0.0, 20.0)}[name]
    x = Named(axis, unit="kpc", scale="log", range=ends)
    y = dimension(xr.DataArray(0.0, name=name, attrs={"units": unit, "long_name": label}), scale=scale, range=limits)
    at = np.sqrt(limits[0] * limits[1]) if scale == "log" else 0.5 * sum(limits)
    return hv.Overlay([text(float(np.sqrt(ends[0] * ends[1])), float(at), words).redim(x=x, y=y)], label=title)
