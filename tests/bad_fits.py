"""Kinds of bad fits, fields, exports and mocks: name -> the call that must be refused."""

import dataclasses
from functools import partial

import numpy as np
import pandas as pd
from bad_arguments import CALL, alike, ball, inf, nan, written
from bad_files import catalog
from fakes import FakeFit, stars

import clearview as cv
from clearview import interop, mocks
from clearview.dynamics import (
    acceleration_field,
    load_budget,
    phase_space_field,
    slice_points,
)
from clearview.field import Axis, Quantity, grid, make_field
from clearview.figures import save_figure
from clearview.flows import FitConfig, FlowConfig
from clearview.panels.share import save_data

KINDS = {}

# ---- fits, fields, what they are written as --------------------------------------------------------------------------

_short = cv.MapConfig(
    positions=FlowConfig(1, 4, 1), velocities=FlowConfig(1, 4, 1), potential=cv.PotentialConfig(degree=2)
)
KINDS |= {
    f"fit_map: {what}": call
    for what, call in {
        "no catalogue": lambda: cv.fit_map(None, _short),
        "a path": lambda: cv.fit_map("stars.parquet", _short),
        "a config of text": lambda: cv.fit_map(ball(), "x"),
        "another config": lambda: cv.fit_map(ball(), FitConfig()),
        "no phase space": lambda: cv.fit_map(catalog(), _short),
        "too few stars": lambda: cv.fit_map(stars(500), _short),
        "NaN": lambda: cv.fit_map(alike(vx=nan), _short),
        "inf": lambda: cv.fit_map(alike(x=inf), _short),
        "all at one place": lambda: cv.fit_map(alike(x=8.0, y=0.0, z=0.0), _short),
        "all in one plane": lambda: cv.fit_map(alike(z=0.0), _short),
        "all at rest": lambda: cv.fit_map(alike(vx=0.0, vy=0.0, vz=0.0), _short),
        "all outside": lambda: cv.fit_map(alike(x=100.0), dataclasses.replace(_short, radius=4.0)),
        "a ball too large": lambda: cv.fit_map(ball(), dataclasses.replace(_short, radius=50.0)),
        "a ball too small": lambda: cv.fit_map(ball(), dataclasses.replace(_short, radius=0.01)),
        "a ball over the axis": lambda: cv.fit_map(ball(), dataclasses.replace(_short, center=(0.0, 0.0, 0.0))),
        "too few for the potential": lambda: cv.fit_map(
            ball(), dataclasses.replace(_short, potential=cv.PotentialConfig(degree=40))),
        "velocities of light-years": lambda: cv.fit_map(alike(vx=1e38), _short),
        "resume of nothing": lambda: cv.fit_map(ball(), resume=5),
        "preview of NaN": lambda: cv.fit_map(ball(), _short, preview=nan),
        "resume and config": lambda: cv.fit_map(ball(), cv.MapConfig(), resume=FakeFit(ball().digest())),
        "resume of other stars": lambda: cv.fit_map(ball(), resume=FakeFit("other")),
    }.items()
}  # fmt: skip
KINDS |= {
    f"fit_columns: {what}": call
    for what, call in {
        "no column": lambda: cv.fit_columns(catalog(), ()),
        "a column twice": lambda: cv.fit_columns(catalog(), ("ra", "ra")),
        "unknown": lambda: cv.fit_columns(catalog(), ("nope",)),
        "text": lambda: cv.fit_columns(catalog(), ("name",)),
        "a number": lambda: cv.fit_columns(catalog(), 5),
        "numbers": lambda: cv.fit_columns(catalog(), (5,)),
        "too few": lambda: cv.fit_columns(catalog(), ("pmra",)),
        "all equal": lambda: cv.fit_columns(alike(vx=1.0), ("vx",)),
        "NaN": lambda: cv.fit_columns(alike(vx=nan), ("vx",)),
        "huge numbers of small spread": lambda: cv.fit_columns(
            ball().with_columns({"id": 10**12 + np.arange(len(ball()))}), ("id",)),
        "numbers beyond float32": lambda: cv.fit_columns(
            ball().with_columns({"a": 1e300 * np.arange(len(ball()))}), ("a",)),
        "no catalogue": lambda: cv.fit_columns(None, ("pmra",)),
        "another config": lambda: cv.fit_columns(ball(), ("vx",), cv.MapConfig()),
        "resume of nothing": lambda: cv.fit_columns(ball(), ("vx",), resume=5),
    }.items()
}  # fmt: skip
_axes = (Axis("x", 5.0, 11.0, 4), Axis("z", -2.0, 2.0, 4))
_truth = mocks.Truth()
for _what, _given, _fixed in (
    ("an unknown axis", (Axis("q", 0, 1, 4),), {}), ("one that is missing", _axes, {}),
    ("an axis twice", (*_axes[:1], *_axes[:1]), {"y": 0, "z": 0}), ("both axis and fixed", _axes, {"x": 1.0, "y": 0.0}),
    ("another unit", (Axis("x", 5, 11, 4, "pc"), _axes[1]), {"y": 0.0}), ("fixed at NaN", _axes, {"y": nan}),
    ("fixed at text", _axes, {"y": "0"}), ("an axis of NaN", (Axis("x", nan, 11, 4), _axes[1]), {"y": 0.0}),
    ("an axis without end", (Axis("x", 0, inf, 4), _axes[1]), {"y": 0.0}),
    ("an axis of no cells", (Axis("x", 0, 1, 0), _axes[1]), {"y": 0.0}),
    ("an axis of -3 cells", (Axis("x", 0, 1, -3), _axes[1]), {"y": 0.0}),
    ("an axis of 2.5 cells", (Axis("x", 0, 1, 2.5), _axes[1]), {"y": 0.0}),
    ("an axis of text cells", (Axis("x", 0, 1, "4"), _axes[1]), {"y": 0.0}),
    ("an axis of length zero", (Axis("x", 5, 5, 4), _axes[1]), {"y": 0.0}),
    ("more cells than fit", (Axis("x", 5, 6, 10**9), Axis("z", 0, 1, 10**9)), {"y": 0.0}),
    ("axes of another kind", ("x", "z"), {"y": 0.0}), ("axes of nothing", None, {"y": 0.0}),
    ("no axes", (), {"y": 0.0}), ("fixed of nothing", _axes, None), ("two systems", (Axis("R", 5, 9, 4), _axes[1]),
        {"y": 0}),
):  # fmt: skip
    KINDS[f"acceleration_field: {_what}"] = partial(acceleration_field, _truth, _given, _fixed)
    KINDS[f"slice_points: {_what}"] = partial(slice_points, _given, _fixed)
    KINDS[f"phase_space_field: {_what}"] = partial(phase_space_field, FakeFit("x"), _given, _fixed and {
        **_fixed, "vx": 0.0, "vy": 0.0, "vz": 0.0,
    })  # fmt: skip
KINDS |= {
    "acceleration_field: of nothing": partial(acceleration_field, None, _axes, {"y": 0.0}),
    "acceleration_field: radius=-1": partial(acceleration_field, _truth, _axes, {"y": 0.0}, radius=-1),
    "acceleration_field: radius=nan": partial(acceleration_field, _truth, _axes, {"y": 0.0}, radius=nan),
    "acceleration_field: errors of a truth": partial(acceleration_field, _truth, _axes, {"y": 0.0}, errors=True),
    "grid: missing": partial(grid, _axes, {}, "xyz"),
    "make_field: shape": partial(make_field, _axes, {"a": Quantity(np.ones(3), "", "")}),
    "summarise: no members": lambda: __import__("clearview.field").field.summarise(
        make_field(_axes, {"a": Quantity(np.ones((4, 4)), "", "a")})),
    "load_budget: nowhere": partial(load_budget, "none"),
    **{f"{name}: nowhere": partial(getattr(cv, name), "none") for name in ("load_map", "load_fit", "load_columns")},
    **{f"{name}: a number": partial(getattr(cv, name), 5) for name in ("load_map", "load_fit", "load_columns")},
    **{f"{name}: a folder": partial(getattr(cv, name), ".") for name in ("load_map", "load_fit", "load_columns")},
    **{f"{name}: nothing to save": partial(getattr(cv, name), None, "fit") for name in ("save_map", "save_fit")},
    "load_sample: unknown": partial(cv.load_sample, "nope"),
    "load_sample: a path": partial(cv.load_sample, "../../etc/passwd"),
    "load_sample: a list": partial(cv.load_sample, ["mock_100k"]),
    **{f"to_galpy({what})": call for what, call in {
        "None": partial(interop.to_galpy, None), "outer unknown": partial(interop.to_galpy, FakeFit("x"), outer="nope"),
        "outer of a truth": partial(interop.to_galpy, _truth, outer="MWPotential2014"),
        "ro=0": partial(interop.to_galpy, _truth, ro=0), "vo=nan": partial(interop.to_galpy, _truth, vo=nan),
        "text": partial(interop.to_galpy, "map.clearview"),
    }.items()},
    "to_gala(None)": partial(interop.to_gala, None),
    "outside the ball": lambda: interop.BallPotential(FakeFit("x"))(np.array([[100.0, 0, 0]])),
    "BallPotential of NaN": lambda: interop.BallPotential(_truth)(np.array([[nan, 0, 0]])),
    "write_field: no field": partial(interop.write_field, {"a": 1}, "a.nc"),
    "write_field: another ending": lambda: interop.write_field(_field(), "a.h5"),
    "write_field: no folder": lambda: interop.write_field(_field(), "none/a.nc"),
    "write_field: over another file": lambda: written("there.nc") or interop.write_field(_field(), "there.nc"),
    "write_field: None": lambda: interop.write_field(_field(), None),
    "write_field: objects": lambda: interop.write_field(_field().assign(b=("x", [{}] * 4)), "a.fits"),
    "read_field: nowhere": partial(interop.read_field, "none.nc"),
    "read_field: text": lambda: written("a.nc") or interop.read_field("a.nc"),
    "read_field: text as FITS": lambda: written("a.fits") or interop.read_field("a.fits"),
    "read_field: a number": partial(interop.read_field, 5),
    "save_data: another ending": lambda: save_data(_field(), "a.txt"),
    "save_data: over another file": lambda: written("there.csv") or save_data(_field(), "there.csv"),
    "save_data: a table as FITS": lambda: save_data(pd.DataFrame({"a": [1.0]}), "a.fits"),
    "save_data: no folder": lambda: save_data(pd.DataFrame({"a": [1.0]}), "none/a.csv"),
    "save_data: of nothing": partial(save_data, None, "a.csv"),
    "save_figure: another ending": lambda: save_figure(_curve(), "a.gif"),
    "save_figure: over another file": lambda: written("there.png") or save_figure(_curve(), "there.png"),
    "save_figure: of nothing": partial(save_figure, None, "a.png"),
    "save_figure: dpi=0": lambda: save_figure(_curve(), "a.png", dpi=0),
}  # fmt: skip


def _field():
    return make_field(_axes, {"a": Quantity(np.ones((4, 4)), "km/s", "a")})


def _curve():
    import holoviews as hv

    return hv.Curve([(0, 1), (1, 2)])


# ---- mocks -----------------------------------------------------------------------------------------------------------

_mock = partial(cv.mock_galaxy, 100, cache=False)
KINDS |= {
    f"mock_galaxy({name}={value!r})": partial(cv.mock_galaxy, **{"n": 100, "cache": False, name: value})
    for name, values in {
        "n": (0, -5, 2.5, "100", nan, None, True, 10**15), "seed": (-1, 1.5, "0", None, nan, True),
        "potential": ("nope", 5, None, CALL, ["MWPotential2014"]), "radius": (0, -1, 9, nan, inf, "4", True),
        "populations": ((), 5, None, ("disc",)), "mixing_time": (-1, nan, inf, "2000"),
        "sampling_time": (0, -1, nan, inf, "1"), "time_step": (0, -1, nan, inf, "1"),
    }.items()
    for value in values
}  # fmt: skip
KINDS |= {
    f"Population({name}={value!r})": partial(
        mocks.Population, **{**dict(fraction=0.5, scale_length=3.0, sigma_R=30.0, sigma_z=20.0), name: value}
    )
    for name, values in {
        "fraction": (-1, nan, "0.5", 0), "scale_length": (0, -1, nan, "3"), "sigma_R": (0, -1, nan, inf, None),
        "sigma_z": (0, -1, nan, None), "sigma_scale": (0, nan, "8"),
    }.items()
    for value in values
}  # fmt: skip
KINDS |= {
    f"{name}: {what}": call
    for name, calls in {
        "Dust": {f"{k}={v!r}": partial(mocks.Dust, **{k: v}) for k, v in (
            ("clouds", -1), ("clouds", 2.5), ("clouds", "4"), ("clouds", 10**12), ("sizes", (0.2, 0.1)), ("sizes",
                (0, 1)),
            ("sizes", 5), ("sizes", (nan, 1)), ("depths", (-1, 1)), ("layer", -1), ("layer", nan), ("layer", "1"),
            ("scale_height", 0), ("scale_height", nan), ("reach", 0), ("reach", inf), ("seed", -1), ("seed", "x"),
        )},
        "Spiral": {f"{k}={v!r}": partial(mocks.Spiral, **{k: v}) for k, v in (
            ("amplitude", -1), ("amplitude", nan), ("amplitude", "1"), ("arms", 1), ("arms", 2.5), ("arms", "2"),
            ("pitch", 0), ("pitch", 91), ("pitch", nan), ("height", 0), ("height", nan), ("phase", nan), ("speed", inf),
        )},
        "LuminosityFunction": {f"{k}={v!r}": partial(
            mocks.LuminosityFunction, **{**dict(clump=0.5, center=0.5, width=0.1, slope=1.0), k: v}) for k, v in (
            ("clump", -1), ("clump", 2), ("clump", nan), ("width", 0), ("width", nan), ("slope", 0), ("slope", "1"),
            ("center", nan),
        )},
        "Truth": {repr(v): partial(mocks.Truth, v) for v in ("nope", 5, None, CALL, ["MWPotential2014"])},
        "add_errors": {
            "scale=-1": lambda: mocks.add_errors(ball(), scale=-1), "scale=nan": lambda: mocks.add_errors(ball(),
                scale=nan),
            "scale of text": lambda: mocks.add_errors(ball(), scale="1"), "seed=-1": lambda: mocks.add_errors(ball(),
                -1),
            "no phase space": lambda: mocks.add_errors(catalog()), "no catalogue": lambda: mocks.add_errors(None),
        },
        "stir": {
            "real stars": lambda: mocks.stir(catalog()),
            "no catalogue": lambda: mocks.stir(None),
        },
        "lumpy_galaxy": {f"{k}={v!r}": partial(mocks.lumpy_galaxy, **{"n": 100, "cache": False, k: v}) for k, v in (
            ("n", 0), ("n", "1"), ("radius", 9), ("radius", nan), ("clumped", -1), ("clumped", 2), ("clumped", nan),
            ("clump_stars", 0), ("clump_size", -1), ("clump_size", nan), ("spiral", 5), ("time_step", 0),
        )},
        "dusty_galaxy": {f"{k}={v!r}": partial(mocks.dusty_galaxy, **{"n": 100, "cache": False, k: v}) for k, v in (
            ("n", 0), ("n", "1"), ("dust", 5), ("tracers", ()), ("radius", 9), ("fainter", -1), ("fainter", nan),
        )},
    }.items()
    for what, call in calls.items()
}  # fmt: skip
