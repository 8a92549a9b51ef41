"""All panels of one catalogue and one map, in tabs: one selection, one place, one fit."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets as W

from clearview.catalogs import Catalog, read_catalog
from clearview.panels import base
from clearview.panels.acceleration import AccelerationPanel
from clearview.panels.columns import learnt
from clearview.panels.density import DensityPanel
from clearview.panels.dust import DustPanel
from clearview.panels.excess import ExcessPanel
from clearview.panels.phasespace import PhaseSpacePanel
from clearview.panels.profiles import ProfilePanel
from clearview.panels.selection import Selection
from clearview.panels.stars import StarsPanel, pairs_of
from clearview.panels.stream import NEEDED, StreamPanel
from clearview.panels.view import with_png

MAPS: dict[str, Callable[..., base.Panel]] = {
    "Acceleration": AccelerationPanel, "Density": DensityPanel, "Profiles": ProfilePanel, "Dust": DustPanel,
}  # fmt: skip
"""The panels of a map, in the order of their tabs."""

LINKED = ("plane", "z", "y", "phi", "distance")
"""Controls that are the same in all panels that have them; `place` is too."""


class _Panels(dict):
    """Panels by the name of their tab, made when first asked for."""

    def __init__(self, make: Callable[[str], base.Panel]):
        self._make = make

    def __missing__(self, name):
        return self._make(name)


class Explorer(W.VBox):
    """Tabs with the panels of one catalogue and one map, which see the same stars, selection, place and fit.

    A panel is made when its tab is first opened, and draws only while it is shown. A map that is trained or loaded in
    one panel is shown in all; a place or plane chosen in one is taken over by the others.

    Args:
        catalog: the stars, a `clearview.Catalog`, or None.
        fit: a map, a `clearview.dynamics.MapFit`, or None.
        config: a `clearview.MapConfig` for training.
        threaded: False draws and trains at once in the calling thread.

    Attributes:
        names: of the tabs.
        panels: the panels by name; one that was not opened yet is made when asked for.
        selection: the `Selection` that the panels share.
        tabs: the buttons; their ``value`` is the name of the tab that is shown.

    Raises:
        ValueError: if there are neither stars nor a map.
    """

    _closed = True  # until it is built

    def __init__(self, catalog=None, fit=None, *, config=None, threaded: bool = True):
        if catalog is None and fit is None:
            raise ValueError("Expected a catalogue or a map to explore, got none of them; pass one.")
        self._fit, self._config, self._threaded = fit, config, threaded
        self._place: tuple[float, float, float] | None = None
        self._links: dict[str, Any] = {}
        self._doing, self._lock = threading.local(), threading.RLock()
        self.selection, self.panels = Selection(catalog), _Panels(self._make)
        phase_space = catalog is None or fit is not None or catalog.has_phase_space
        some = pairs_of(self.selection.columns.units)
        units = self.selection.columns.units
        there = {"Stars": some, "Phase space": True, "Excess": {"phi1", "phi2"} <= set(units)}
        there |= {"Streams": set(NEEDED) <= set(units)} | dict.fromkeys(MAPS, phase_space)
        self.names = tuple(name for name, shown in there.items() if shown)
        self.tabs = W.ToggleButtons(options=self.names, style={"button_width": "auto"})
        self._stack = W.Stack([W.HTML() for _ in self.names], selected_index=0)
        super().__init__([self.tabs, self._stack])
        self.add_class("cv-panel")
        self._closed = False
        self.tabs.observe(lambda _: self._turn(), "value")
        self.selection.observe(lambda _: self._restock(), "changes")
        self._turn()

    def turn_to(self, name: str) -> base.Panel:
        """Show a tab; its panel.

        Raises:
            ValueError: for a name that is no tab.
        """
        panel = self.panels[name]
        self.tabs.value = name
        return panel

    @property
    def catalog(self):
        """The stars; setting another catalogue sets it in all panels."""
        return self.selection.source

    @catalog.setter
    def catalog(self, catalog):
        self.selection.reset(catalog)

    @property
    def fit(self):
        """The map that is shown, or None; setting another one sets it in all panels."""
        return self._fit

    @fit.setter
    def fit(self, fit):
        self._fit = fit
        self._spread()

    @property
    def selected(self):
        """The selected stars, a `clearview.Catalog`.

        Raises:
            ValueError: if no star is selected.
        """
        return self.selection.catalog

    def close(self) -> None:
        """End all threads and remove all widgets."""
        if self._closed:
            return
        self._closed = True
        self.selection.unobserve_all()
        for panel in self.panels.values():
            panel.close()
        for part in (*self.children, self.layout):
            base.close_all(part)
        super().close()

    # ---- tabs ----------------------------------------------------------------------------------------------------

    def _make(self, name: str) -> base.Panel:
        if name not in self.names:
            raise ValueError(f"Expected a tab among {', '.join(self.names)}, got {name!r}.")
        with self._lock:
            if name in self.panels:  # made meanwhile
                return self.panels[name]
            if name == "Stars":
                panel = StarsPanel(self.catalog, selection=self.selection, threaded=self._threaded)
            elif name == "Streams":
                panel = StreamPanel(self.catalog, selection=self.selection, threaded=self._threaded)
            elif name in ("Phase space", "Excess"):
                panel = (PhaseSpacePanel if name == "Phase space" else ExcessPanel)(
                    self.catalog, self._fit, selection=self.selection, config=self._config, threaded=self._threaded
                )
            else:
                kwargs = {} if MAPS[name] is DustPanel else {"config": self._config}
                panel = MAPS[name](self.catalog, threaded=self._threaded, **kwargs)
                if self._fit is not None and panel.usable(self._fit):
                    panel.fit = self._fit
            panel.show(self.tabs.value == name)
            panel._lock = self._lock  # one for all, since each changes controls of the others
            for bar in (panel.bar, getattr(panel, "scanner", None)):
                if bar is not None:
                    bar.elsewhere = lambda own=bar.elsewhere: own() or self._training_beside(panel)
            self._take_place(panel)
            panel.observe(lambda _: self._heard(panel), "refreshed")
            if panel.has_trait("place"):
                panel.observe(lambda change: self._moved(change["new"]), "place")
            for link in LINKED:
                if link in panel.controls:
                    panel.controls[link].observe(lambda change, link=link: self._linked(link, change["new"]), "value")
            self.panels[name] = panel
            children = list(self._stack.children)
            base.close_all(children[self.names.index(name)])
            children[self.names.index(name)] = panel
            self._stack.children = children
        return panel

    def _turn(self) -> None:
        """Another tab: its panel draws from now on, the others do not."""
        shown = self.panels[self.tabs.value]
        self._stack.selected_index = self.names.index(self.tabs.value)
        for panel in self.panels.values():
            panel.show(panel is shown)

    def _training_beside(self, panel: base.Panel) -> str:
        """The tab of another panel that trains; two at once would take twice as long each."""
        return next((f"a training in the tab {n}" for n, p in self.panels.items() if p is not panel and p.busy), "")

    # ---- what the panels share -----------------------------------------------------------------------------------

    def _once(self, action: Callable[[], Any]) -> None:
        """Do what panels answer with changes of their own, which are not to come back."""
        if self._closed or getattr(self._doing, "now", False):
            return
        self._doing.now = True
        try:
            action()
        finally:
            self._doing.now = False

    def _heard(self, panel: base.Panel) -> None:
        """A panel has another catalogue, fit or config."""
        if panel.catalog is not self.catalog:
            self.selection.reset(panel.catalog)
        elif _of_maps(panel):
            if panel.fit is not None and panel.fit.stopped != "preview":
                self._fit = panel.fit
            if not isinstance(panel, DustPanel):  # which has another kind
                self._config = panel.config
            self._spread()

    def _spread(self) -> None:
        def set_all():
            for panel in list(self.panels.values()):
                if _of_maps(panel):
                    if panel.config is not self._config and not isinstance(panel, DustPanel):
                        panel.config = self._config
                    if panel.fit is not self._fit and (self._fit is None or panel.usable(self._fit)):
                        panel.fit = self._fit

        self._once(set_all)

    def _restock(self) -> None:
        """The catalogue of the selection is that of all panels."""

        def set_all():
            for panel in list(self.panels.values()):
                if panel.catalog is not self.catalog:
                    panel.catalog = self.catalog

        self._once(set_all)

    def _moved(self, place) -> None:
        self._place = place
        self._follow()

    def _linked(self, link: str, value) -> None:
        if not getattr(self._doing, "now", False):  # what a panel answers, clipped perhaps, is not to be followed
            self._links[link] = value
            self._follow()

    def _follow(self) -> None:
        self._once(lambda: [self._take_place(panel) for panel in list(self.panels.values())])

    def _take_place(self, panel: base.Panel) -> None:
        for link, value in list(self._links.items()):
            control = panel.controls.get(link)
            if control is not None and value in getattr(control, "options", (value,)):
                control.value = value
        if self._place is not None and panel.has_trait("place"):
            panel.set_trait("place", self._place)

    def _repr_mimebundle_(self, **kwargs):
        panel = self.panels[self.tabs.value]
        panel.idle.wait(20)  # so that the saved notebook has a picture
        return with_png(super()._repr_mimebundle_(**kwargs), *panel.views)


def explore(catalog_or_fit, fit=None, *, config=None, threaded: bool = True) -> Explorer:
    """Everything there is to see of a catalogue, a map, or both, in tabs.

    Args:
        catalog_or_fit: a `clearview.Catalog`, a map (`clearview.dynamics.MapFit`), or the path of a saved one of both;
            a file whose name ends in ``.clearview`` holds a map.
        fit: a map to go with the catalogue, or its path.
        config: a `clearview.MapConfig` for training.
        threaded: False draws and trains at once in the calling thread.

    Raises:
        FileNotFoundError: if there is no such file.
        TypeError: for anything else, or two of a kind.
        ValueError: for a file that holds neither, or a fit that is no map.
    """
    found: dict[str, Any] = {}
    for given in (catalog_or_fit, *([] if fit is None else [fit])):
        thing = _read(given) if isinstance(given, str | Path) else given
        kind = "catalogue" if isinstance(thing, Catalog) else "map" if hasattr(thing, "data_digest") else ""
        if not kind or kind in found:
            got = f"two of a kind ({kind})" if kind else type(thing).__name__
            raise TypeError(f"Expected a Catalog, a MapFit, both, or their paths, got {got}; read or train one first.")
        if names := kind == "map" and learnt(thing):
            raise ValueError(f"Expected a map of f(x, v), got a flow of {', '.join(names)}; show it in a "
                             "PhaseSpacePanel.")  # fmt: skip
        found[kind] = thing
    return Explorer(found.get("catalogue"), found.get("map"), config=config, threaded=threaded)


def _read(path):
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"Expected a catalogue or a saved map at {path}, got no such file; correct the path.")
    return base.dynamics().load_fit(path) if path.suffix == ".clearview" else read_catalog(path)


def _of_maps(panel: base.Panel) -> bool:
    """Whether a panel shows the map that the others show."""
    return (
        not isinstance(panel, StarsPanel | StreamPanel)
        and getattr(panel, "learn", None) is None
        and learnt(panel.fit) is None
    )
