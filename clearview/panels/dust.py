"""What dust hides: the stars seen, the density without dust, and the efficiency, side by side."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

import holoviews as hv
import ipywidgets as W
import numpy as np
import xarray as xr

from clearview.field import Quantity, make_field
from clearview.figures import contours, limits_of
from clearview.panels import base
from clearview.panels.sliced import SlicePanel
from clearview.panels.train import Learner
from clearview.panels.view import RasterView


class DustPanel(SlicePanel):
    """Slices through the density of the seen stars, the density without dust, and the share that is seen.

    All three are of the same slice, zoom together, and both densities have the same colours. *Train* learns a map of
    the seen stars and then solves for the potential and the efficiency from the velocities.

    Args:
        catalog: the stars, a `clearview.Catalog`.
        fit: a `clearview.dynamics.EfficiencyFit`; None shows the truth of a `dusty_galaxy`, or waits for a training.
        config: a `clearview.dynamics.EfficiencyConfig` for training.
        size: longer side of each plot, CSS pixels.
        threaded: False draws and trains at once in the calling thread.
    """

    components: ClassVar = {"observed": "seen", "corrected": "corrected", "efficiency": "efficiency"}
    logarithmic = ("seen", "corrected")
    contour_words = "contours of the efficiency"
    errors = False
    tags = ("show", "plane", "z", "y", "phi", "distance")
    grain, fine = 48, 160  # three views at once

    def __init__(self, catalog=None, fit=None, *, size: int = 240, **kwargs):
        super().__init__(catalog, fit, size=size, **kwargs)

    def build(self) -> dict[str, Any]:
        self.views = (self.view, *(RasterView(self.view.width) for _ in range(2)))
        for view in self.views:
            view.observe(self._together, "range")
        controls = super().build()
        for name in ("component", "hatch", "dust"):
            base.close_all(controls.pop(name))
        return controls

    def arrange(self) -> W.Widget:
        whole: Any = super().arrange()
        _, right = whole.children
        right.layout.flex = "1 1 0"
        badge, *rest = right.children
        right.children = [badge, W.HBox(self.views, layout=W.Layout(flex_flow="row wrap")), *rest[len(self.views) :]]
        return whole

    def _together(self, change) -> None:
        for view in self.views:
            view.range = change["new"]

    def learner(self) -> Learner | str:
        def part(name: str):
            return lambda *args, **kwargs: getattr(base.dynamics(), name)(*args, **kwargs)

        def fit(*args, **kwargs):  # a map that is resumed brings its own config, but not that of the dust
            return base.dynamics().fit_dusty(*args, **{"config": self.bar.config} | kwargs)

        return Learner(
            fit, part("save_fit"), part("load_fit"), defaults=part("EfficiencyConfig"), estimate=part("estimate_dusty"),
            same=lambda fit, config: fit.config == config.map,
        )  # fmt: skip

    def usable(self, fit) -> bool:
        return hasattr(fit, "efficiency")

    def truth(self):
        return None if self.catalog is None else import_module("clearview.mocks").dust_truth_of(self.catalog)

    def field(self, source, axes, fixed, settings, errors: bool) -> xr.Dataset:
        words = {"seen": "stars seen", "corrected": "stars without dust", "efficiency": "efficiency ε"}
        units = {"efficiency": "", "seen": "kpc-3", "corrected": "kpc-3"}
        if source is self.fit:
            made = base.dynamics().efficiency_field(source, axes, fixed)
            n = source.stars
            values = {"seen": n * np.exp(made.log_n_seen), "corrected": n * np.exp(made.log_n)}
            values["efficiency"] = made.efficiency
            values = {name: v.values for name, v in values.items()}
        else:
            x = base.dynamics().slice_points(axes, fixed)
            n, share = (f(x.reshape(-1, 3)).reshape(x.shape[:-1]) for f in (source.density, source.efficiency))
            values = {"seen": n * share, "corrected": np.where(n > 0, n, np.nan), "efficiency": share}
        return make_field(axes, {k: Quantity(np.asarray(v, np.float32), units[k], words[k]) for k, v in values.items()})

    def draw(self, settings: Mapping[str, Any], detail: float):
        if why := self._nothing(settings["show"]):
            return why
        field = self._shown(settings, detail)
        clouds = [contours(field["efficiency"], [0.1, 0.3, 0.5, 0.7, 0.9])] if settings["contours"] else []
        plain = {**settings, "contours": False, "hatch": False, "dust": False}
        return hv.Layout([self.picture(field, name, plain, detail, clouds) for name in self.components.values()])

    def limits(self, shown: xr.DataArray, name: str, scale, settings) -> tuple[float, float]:
        if name == "efficiency" and settings["show"] != "difference":
            return (0.01, 1.0) if scale == "log" else (-1.0, 1.0) if scale == "diverging" else (0.0, 1.0)
        if settings["show"] == "difference" or scale != "log":
            return super().limits(shown, name, scale, settings)
        if name == "seen":
            # Both densities in the same colours; below a thousandth of the highest there are no stars to tell.
            self._both = limits_of(shown.values, scale)
            self._both = max(self._both[0], 1e-3 * self._both[1]), self._both[1]
        return self._both
