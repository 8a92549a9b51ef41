"""Kinds of bad arguments: name -> the call that must be refused; a file it could write lies in the present folder."""

import dataclasses
from functools import lru_cache, partial

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.table import Table
from bad_files import catalog
from fakes import FakeFit, sky_stars, stars

import clearview as cv
from clearview import flows, interop, mocks
from clearview.catalogs import (
    AbsoluteMagnitude,
    ApparentMagnitude,
    Ball,
    Box,
    Catalog,
    Distance,
    Finite,
    GreatCircle,
    ParallaxQuality,
    Particles,
    Positive,
    ProperMotionWindow,
    Speed,
    completeness_limit,
    read_particles,
    resample,
    to_cylindrical,
)
from clearview.dynamics import (
    EfficiencyConfig,
    acceleration_field,
    fit_efficiency,
    load_budget,
    phase_space_field,
    slice_points,
)
from clearview.field import Axis, Quantity, grid, make_field
from clearview.figures import save_figure
from clearview.flows import ColumnConfig, FitConfig, FlowConfig, ScoreConfig
from clearview.panels.share import save_data
from clearview.panels.view import RasterView
from clearview.units import SUN, Sun

nan, inf = float("nan"), float("inf")
INJECTION = "1 OR 1=1; DROP TABLE gaiadr3.gaia_source --"
CALL = "__import__('os').system('touch ran')"


@lru_cache
def ball() -> Catalog:
    return stars(3000)


def alike(**columns) -> Catalog:
    """Stars of phase space with some columns all at one value."""
    data = ball()
    return data.with_columns(
        {n: u.Quantity(np.full(len(data), v, np.float32), data.unit(n)) for n, v in columns.items()}
    )


def held(act, panel):
    """The call on a panel, which is closed whatever happens."""

    def call():
        made = panel()
        try:
            return act(made)
        finally:
            made.close()

    return call


KINDS = {}

# ---- configs: every field with what it cannot be ----------------------------------------------------------------------

TEXTS = ("nonsense", 5, None, nan, True, ["affine"], b"affine", CALL)
WHOLE = ("3", 2.5, nan, inf, -1, True, [3], 1j, 10**9, 10**400)
REAL = ("0.5", nan, inf, -inf, -1.0, True, None, [0.5], 1j, CALL)
PARTS = (5, "x", {}, [], True, FlowConfig)
OPTIONAL = {("MapConfig", "radius"), ("FitConfig", "patience"), ("MapConfig", "potential")}
FINE = {
    ("FitConfig", "epochs"): {10**9}, ("FitConfig", "min_steps"): {10**9}, ("FitConfig", "batch_size"): {10**9},
    ("FitConfig", "patience"): {10**9}, ("PotentialConfig", "stars"): {10**9}, ("EfficiencyConfig", "stars"): {10**9},
    ("MapConfig", "seed"): {10**9}, ("ColumnConfig", "seed"): {10**9},
}  # fmt: skip
"""Values of the tables that these fields may well have."""

CONFIGS = (FlowConfig, FitConfig, cv.PotentialConfig, cv.MapConfig, ColumnConfig, ScoreConfig, EfficiencyConfig)
for _config in CONFIGS:
    for _field in dataclasses.fields(_config):
        _name, _default = _field.name, getattr(_config(), _field.name)
        _bad = (
            PARTS if dataclasses.is_dataclass(_default) else TEXTS if isinstance(_default, str)
            else (5, "abc", [nan] * 3, [1, 2], None, [inf, 0, 0], ["a", "b", "c"], [True] * 3, [1e300] * 3)
            if _name == "center" else ("nonsense", 5, ("nonsense",), [5], {"axisymmetric": 1}.values(), CALL)
            if _name == "symmetry" else WHOLE if _field.type in (int, int | None) else REAL
        )  # fmt: skip
        for _value in _bad:
            if (_value is None and (_config.__name__, _name) in OPTIONAL) or any(
                _value is v or _value == v for v in FINE.get((_config.__name__, _name), ())
            ):
                continue
            KINDS[f"{_config.__name__}({_name}={str(_value)[:40]!r} of {type(_value).__name__})"] = partial(
                _config, **{_name: _value}
            )
KINDS |= {
    f"FlowConfig({', '.join(f'{k}={v}' for k, v in sizes.items())})": partial(FlowConfig, **sizes)
    for sizes in (
        dict(layers=0), dict(width=0), dict(depth=0), dict(layers=10**9), dict(width=10**6, depth=100),
        dict(layers=1000, width=10**4), dict(transform="spline", bins=1), dict(transform="spline", bins=101),
        dict(transform="spline", reach=0.0),
    )
}  # fmt: skip
KINDS |= {
    f"{config.__name__}({', '.join(f'{k}={v}' for k, v in told.items())})": partial(config, **told)
    for config, told in (
        (FitConfig, dict(learning_rate=0.0)), (FitConfig, dict(b2=1.0)), (FitConfig, dict(validation=1.0)),
        (FitConfig, dict(average=1.0)), (FitConfig, dict(patience=0)), (FitConfig, dict(patience=2, validation=0.0)),
        (FitConfig, dict(epochs=0)), (FitConfig, dict(batch_size=0)), (cv.PotentialConfig, dict(degree=0)),
        (cv.PotentialConfig, dict(degree=41)), (cv.PotentialConfig, dict(edge=0.0)), (cv.PotentialConfig, dict(edge=1.1)),
        (cv.PotentialConfig, dict(stars=0)), (cv.PotentialConfig, dict(horizontal=0.5)),
        (cv.PotentialConfig, dict(length=0.0)), (cv.MapConfig, dict(radius=0.0)), (cv.MapConfig, dict(seed=2**32)),
        (EfficiencyConfig, dict(veil=0.0)), (ScoreConfig, dict(noise=0.0)),
    )
}  # fmt: skip
for _config in (cv.MapConfig, ColumnConfig):
    _whole = _config().to_dict()
    _part = next(name for name, value in _whole.items() if isinstance(value, dict))
    for _what, _values in {
        "nothing": None, "a number": 5, "text": "x", "a list": [], "pairs": [["seed", 1]], "an empty dict": {},
        "a part missing": {k: v for k, v in _whole.items() if k != _part},
        "an unknown key": {**_whole, "nope": 1}, "a key that is no text": {**_whole, 5: 1},
        "an unknown key in a part": {**_whole, _part: {**_whole[_part], "nope": 1}},
        "a part that is a list": {**_whole, _part: [1]}, "a part that is None": {**_whole, _part: None},
        "a wrong value in a part": {**_whole, _part: {**_whole[_part], next(iter(_whole[_part])): "x"}},
        "dunder keys": {**_whole, "__class__": "os.system"},
    }.items():  # fmt: skip
        KINDS[f"{_config.__name__}.from_dict of {_what}"] = partial(_config.from_dict, _values)

# ---- Gaia -------------------------------------------------------------------------------------------------------------

_patch = dict(ra=10.0, dec=5.0, radius=1.0)
for _name in ("radius", "g_max", "parallax_snr", "ruwe"):
    for _value in ("4", INJECTION, nan, inf, -1, True, [4], 1j, 10**9, CALL):
        KINDS[f"GaiaBall({_name}={_value!r})"] = partial(cv.GaiaBall, **{_name: _value})
for _name in ("ra", "dec", "radius", "parallax_max", "g_max"):
    for _value in ("4", INJECTION, nan, -inf, True, [4], 1000.5 if _name == "parallax_max" else 400.0):
        KINDS[f"GaiaPatch({_name}={_value!r})"] = partial(cv.GaiaPatch, **{**_patch, _name: _value})
for _name in ("radial_velocity", "distances", "zero_point"):
    for _value in (1, "True", None, INJECTION):
        KINDS[f"GaiaBall({_name}={_value!r})"] = partial(cv.GaiaBall, **{_name: _value})
_query = partial(cv.query_gaia, cv.GaiaBall())
KINDS |= {
    f"query_gaia({what})": call
    for what, call in {
        "a sample of text": partial(cv.query_gaia, INJECTION, "a.parquet"),
        "a class for a sample": partial(cv.query_gaia, cv.GaiaBall, "a.parquet"),
        "another ending": partial(_query, "a.csv"),
        "no folder": partial(_query, "none/a.parquet"),
        "no path": partial(_query, None),
        "a number for a path": partial(_query, 5),
        "columns of ADQL": partial(_query, "a.parquet", columns=[f"ra FROM x; {INJECTION}"]),
        "unknown columns": partial(_query, "a.parquet", columns=["nope"]),
        "columns of numbers": partial(_query, "a.parquet", columns=[5]),
        "a number for columns": partial(_query, "a.parquet", columns=5),
        "a file of another kind there": lambda: _written("there.parquet") or _query("there.parquet"),
        **{f"chunk_rows={v!r}": partial(_query, "a.parquet", chunk_rows=v) for v in (0, "1", nan, 10**8, True, None)},
        **{f"timeout={v!r}": partial(_query, "a.parquet", timeout=v) for v in (0, "1", nan, inf, None)},
        **{f"retries={v!r}": partial(_query, "a.parquet", retries=v) for v in (-1, "1", nan, 10**6)},
        **{f"server={v!r}": partial(_query, "a.parquet", server=v) for v in (
            5, None, "", "file:///etc/passwd", "gopher://x", "localhost:80", "javascript:alert(1)"
        )},
    }.items()
}  # fmt: skip


def _written(name: str) -> None:
    with open(name, "w") as file:
        file.write("mine")


# ---- catalogues and cuts ----------------------------------------------------------------------------------------------

for _cut, _names in (
    (ParallaxQuality, ("min_snr",)), (AbsoluteMagnitude, ("brighter_than", "fainter_than")), (Speed, ("max", "min")),
    (ApparentMagnitude, ("brighter_than", "fainter_than")), (Distance, ("max", "min")), (Ball, ("radius",)),
):  # fmt: skip
    for _name in _names:
        for _value in ("3", nan, [3], 1j, True, CALL):
            _rest = {"max": 300} if _cut is Speed and _name == "min" else {}
            KINDS[f"{_cut.__name__}({_name}={_value!r})"] = partial(_cut, **{_name: _value}, **_rest)
KINDS |= {
    f"Box(x={bounds!r})": partial(Box, x=bounds)
    for bounds in (5, (1,), (1, 2, 3), (2, 1), (nan, 1), ("a", "b"), None, "ab", (1j, 2), {1: 2}, (True, 2))
}
KINDS |= {
    "Box()": Box,
    "Ball(centre=...)": partial(Ball, 4, (1, 2)),
    "Ball(centre of text)": partial(Ball, 4, ("a", "b", "c")),
    "Ball(centre of NaN)": partial(Ball, 4, (nan, 0, 0)),
    "Ball(radius=-1)": partial(Ball, -1),
    "Distance(min beyond max)": partial(Distance, 1, 2),
    "Speed(of='moon')": partial(Speed, 300, of="moon"),
    "ProperMotionWindow((1, 0))": partial(ProperMotionWindow, (1, 0)),
    "completeness_limit(distance=0)": partial(completeness_limit, 14, 0),
    "completeness_limit(distance=nan)": partial(completeness_limit, 14, nan),
    "completeness_limit of text": partial(completeness_limit, "14", 4),
    "a cut and no cut": lambda: Box(ra=(0, 1)) & 5,
}
for _what, _act in {
    "select(no cut)": lambda c: c.select(5),
    "select(text)": lambda c: c.select("ra > 3"),
    "select(a class)": lambda c: c.select(Ball),
    "select(an unknown column)": lambda c: c.select(Box(nope=(0, 1))),
    "select(text column)": lambda c: c.select(Box(name=(0, 1))),
    "select(nothing left)": lambda c: c.select(Box(ra=(400, 500))),
    "select(Finite of nothing)": lambda c: c.select(Finite("nope")),
    "select(Finite of a number)": lambda c: c.select(Finite(5)),
    "select(Positive of text)": lambda c: c.select(Positive("name")),
    "select(Ball without x, y, z)": lambda c: c.select(Ball(4)),
    "select(Speed without velocities)": lambda c: c.select(Speed(300)),
    "take(numbers)": lambda c: c.take(np.arange(3)),
    "take(too few)": lambda c: c.take(np.ones(3, bool)),
    "take(none)": lambda c: c.take(np.zeros(len(c), bool)),
    "take(None)": lambda c: c.take(None),
    "[unknown]": lambda c: c["nope"],
    "[a number]": lambda c: c[0],
    "[a list]": lambda c: c[["ra", "dec"]],
    "unit(unknown)": lambda c: c.unit("nope"),
    "quantity(unknown)": lambda c: c.quantity("nope"),
    "require(unknown)": lambda c: c.require(["nope"]),
    "digest(no column)": lambda c: c.digest([]),
    "digest(unknown)": lambda c: c.digest(["nope"]),
    "phase_space without": lambda c: c.phase_space,
    "with_columns(too short)": lambda c: c.with_columns({"a": [1.0]}),
    "with_columns(a matrix)": lambda c: c.with_columns({"a": np.ones((len(c), 2))}),
    "with_columns(a number)": lambda c: c.with_columns({"a": 5.0}),
    "with_columns(no unit)": lambda c: c.with_columns({"ra": np.ones(len(c))}),
    "with_columns(wrong unit)": lambda c: c.with_columns({"ra": np.ones(len(c)) * u.kg}),
    "with_columns(objects)": lambda c: c.with_columns({"a": np.array([{}] * len(c))}),
    "with_columns(complex)": lambda c: c.with_columns({"ra": np.ones(len(c), complex) * u.deg}),
    "with_columns(meta that is no JSON)": lambda c: c.with_columns({}, meta={"a": object()}),
    "with_columns(meta with NaN)": lambda c: c.with_columns({}, meta={"a": nan}),
    "with_columns(meta of a Sun that is none)": lambda c: c.with_columns({}, meta={"sun": {"R": CALL}}),
    "to_galactocentric(distance=unknown)": lambda c: c.to_galactocentric(distance="nope"),
    "to_galactocentric(distance=no length)": lambda c: c.to_galactocentric(distance="pmra"),
    "to_galactocentric(distance=5)": lambda c: c.to_galactocentric(distance=5),
    "to_galactocentric(sun=5)": lambda c: c.to_galactocentric(5),
    "to_galactocentric(sun=tuple)": lambda c: c.to_galactocentric((8.1, 0.02)),
    "to_galactocentric(sun of NaN)": lambda c: c.to_galactocentric(Sun(R=nan)),
    "to_galactocentric(sun at the centre)": lambda c: c.to_galactocentric(Sun(R=0.0)),
    "to_galactocentric(negative R)": lambda c: c.to_galactocentric(Sun(R=-8.0)),
    "to_galactocentric(sun above itself)": lambda c: c.to_galactocentric(Sun(R=1.0, z=5.0)),
    "to_galactocentric(sun of text)": lambda c: c.to_galactocentric(Sun(R="8")),
    "to_galactocentric(no good parallax)": lambda c: c.with_columns(
        {"parallax": np.full(len(c), -1.0) * u.mas}).to_galactocentric(),
    "to_galactocentric(NaN)": lambda c: c.with_columns({"pmra": np.full(len(c), nan) * u.mas / u.yr}).to_galactocentric(),
    "to_galactocentric(dec beyond the pole)": lambda c: c.with_columns(
        {"dec": np.full(len(c), 100.0) * u.deg}).to_galactocentric(),
    "to_patch(one number)": lambda c: c.to_patch(5),
    "to_patch(three)": lambda c: c.to_patch((1, 2, 3)),
    "to_patch(dec=100)": lambda c: c.to_patch((10, 100)),
    "to_patch(NaN)": lambda c: c.to_patch((nan, 0)),
    "to_patch(text)": lambda c: c.to_patch("M31"),
    "to_patch(texts)": lambda c: c.to_patch(("10", "5")),
    "to_patch(None)": lambda c: c.to_patch(None),
    "to_stream(unknown)": lambda c: c.to_stream("Nope"),
    "to_stream(5)": lambda c: c.to_stream(5),
    "to_stream(list)": lambda c: c.to_stream([1, 2]),
    "to_stream(injection)": lambda c: c.to_stream(CALL),
    "to_stream(pole alone)": lambda c: c.to_stream(GreatCircle((10, 20))),
    "to_stream(pole of NaN)": lambda c: c.to_stream(GreatCircle((nan, 20), 0.0)),
    "to_stream(origin off the circle)": lambda c: c.to_stream(GreatCircle((10, 20), origin=(10, 20))),
    "to_stream(zero_ra of text)": lambda c: c.to_stream(GreatCircle((10, 20), "0")),
    **{f"to_stream(reflex_distance={v!r})": lambda c, v=v: c.to_stream(reflex_distance=v)
       for v in (0, -1, nan, inf, "8", True, [8])},
    "write(another ending)": lambda c: c.write("a.txt"),
    "write(packed)": lambda c: c.write("a.csv.gz"),
    "write(no folder)": lambda c: c.write("none/a.fits"),
    "write(None)": lambda c: c.write(None),
    "write(over another file)": lambda c: _written("there.csv") or c.write("there.csv"),
    "resample(scale=-1)": lambda c: resample(c, 1, -1),
    "resample(scale=nan)": lambda c: resample(c, 1, nan),
    "resample(scale of text)": lambda c: resample(c, 1, "1"),
    "resample(seed=-1)": lambda c: resample(c, -1),
    "resample(seed of text)": lambda c: resample(c, "1"),
    "resample(seed=1.5)": lambda c: resample(c, 1.5),
    "resample(seed=None)": lambda c: resample(c, None),
    "resample(negative errors)": lambda c: resample(c.with_columns(
        {"parallax_error": np.full(len(c), -1.0) * u.mas}), 1),
    "resample(NaN errors)": lambda c: resample(c.with_columns({"parallax_error": np.full(len(c), nan) * u.mas}), 1),
    "resample(impossible correlations)": lambda c: resample(c.with_columns({"parallax_pmra_corr": np.full(len(c), 2.0)}), 1),
    "resample(NaN correlations)": lambda c: resample(c.with_columns({"parallax_pmra_corr": np.full(len(c), nan)}), 1),
    "resample(without errors)": lambda c: resample(sky_stars(50), 1),
}.items():  # fmt: skip
    KINDS[f"catalog.{_what}"] = lambda act=_act: act(catalog())
_frame = pd.DataFrame({"ra": [1.0, 2.0], "dec": [3.0, 4.0]})
KINDS |= {
    f"Catalog: {what}": call
    for what, call in {
        "of a pandas frame": partial(Catalog, _frame),
        "of a dict": partial(Catalog, {"ra": [1.0]}),
        "of nothing": partial(Catalog, None),
        "of no rows": lambda: Catalog(Table({"ra": np.empty(0) * u.deg})),
        "without a unit": lambda: Catalog(Table({"ra": [1.0]})),
        "of a wrong unit": lambda: Catalog(Table({"ra": [1.0] * u.kpc})),
        "of complex numbers": lambda: Catalog(Table({"ra": [1 + 1j] * u.deg})),
        "of objects": lambda: Catalog(Table({"a": np.array([{}, []], object)})),
        "of vectors": lambda: Catalog(Table({"a": np.ones((2, 3))})),
        "of dates": lambda: Catalog(Table({"ra": np.array(["2020-01-01"], "datetime64[D]")})),
        "meta that is no mapping": lambda: Catalog(Table({"a": [1.0]}), meta=5),
        "meta that is no JSON": lambda: Catalog(Table({"a": [1.0]}), meta={"a": {1, 2}}),
        "from_pandas without units": partial(Catalog.from_pandas, _frame),
        "from_pandas of a dict": partial(Catalog.from_pandas, {"ra": [1.0]}),
        "from_pandas of None": partial(Catalog.from_pandas, None),
        "from_pandas of mixed types": lambda: Catalog.from_pandas(pd.DataFrame({"a": [1, "x"]})),
        "from_pandas of objects": lambda: Catalog.from_pandas(pd.DataFrame({"a": [object(), object()]})),
        "from_pandas of two equal names": lambda: Catalog.from_pandas(
            pd.DataFrame([[1.0, 2.0]], columns=["ra", "ra"]), units="gaia"),
        "from_pandas of names that are numbers": lambda: Catalog.from_pandas(pd.DataFrame({1: [1.0]}), names={"ra": 1}),
        "from_pandas of attributes that are none": lambda: Catalog.from_pandas(_frame_with(units=5)),
        "from_pandas of meta that is none": lambda: Catalog.from_pandas(_frame_with(meta=5), units="gaia"),
        "from_pandas of no rows": lambda: Catalog.from_pandas(_frame.iloc[:0], units="gaia"),
        "from_pandas of an empty frame": lambda: Catalog.from_pandas(pd.DataFrame()),
        "from_table of a list": partial(Catalog.from_table, 5),
        "phase space (N, 2)": lambda: Catalog.from_phase_space(np.ones((5, 2)), np.ones((5, 2))),
        "phase space flat": lambda: Catalog.from_phase_space(np.ones(6), np.ones(6)),
        "phase space of two lengths": lambda: Catalog.from_phase_space(np.ones((5, 3)), np.ones((4, 3))),
        "phase space of text": lambda: Catalog.from_phase_space([["a"] * 3], [["b"] * 3]),
        "phase space of objects": lambda: Catalog.from_phase_space(np.array([[{}] * 3]), np.ones((1, 3))),
        "phase space of booleans": lambda: Catalog.from_phase_space(np.ones((5, 3), bool), np.ones((5, 3))),
        "phase space of None": lambda: Catalog.from_phase_space(None, None),
        "phase space in wrong units": lambda: Catalog.from_phase_space(np.ones((5, 3)) * u.s, np.ones((5, 3))),
        "phase space of no stars": lambda: Catalog.from_phase_space(np.ones((0, 3)), np.ones((0, 3))),
        "phase space with NaN": lambda: Catalog.from_phase_space(np.full((5, 3), nan), np.ones((5, 3))).phase_space,
        "phase space and a column too short": lambda: Catalog.from_phase_space(
            np.ones((5, 3)), np.ones((5, 3)), columns={"a": [1]}),
        "to_cylindrical of two shapes": partial(to_cylindrical, np.ones((5, 3)), np.ones((4, 3))),
        "to_cylindrical of (N, 2)": partial(to_cylindrical, np.ones((5, 2)), np.ones((5, 2))),
    }.items()
}  # fmt: skip


def _frame_with(**attrs) -> pd.DataFrame:
    frame = _frame.copy()
    frame.attrs = attrs
    return frame


# ---- particles --------------------------------------------------------------------------------------------------------

_many = np.random.default_rng(0).normal(size=(200, 3))
_units = ("kpc", "km/s", "Msun")
KINDS |= {
    f"Particles: {what}": call
    for what, call in {
        "no units": partial(Particles.of, _many, _many),
        "wrong units": partial(Particles.of, _many, _many, units=("s", "km/s", "Msun")),
        "units that are none": partial(Particles.of, _many, _many, units=(CALL, "km/s", "Msun")),
        "a number for units": partial(Particles.of, _many, _many, units=5),
        "(N, 2)": partial(Particles.of, _many[:, :2], _many, units=_units),
        "too few": partial(Particles.of, _many[:50], _many[:50], units=_units),
        "NaN": partial(Particles.of, _many * nan, _many, units=_units),
        "text": partial(Particles.of, [["a"] * 3] * 200, _many, units=_units),
        "no masses": partial(Particles.of, _many, _many, np.zeros(200), units=_units),
        "negative masses": partial(Particles.of, _many, _many, -np.ones(200), units=_units),
        "upright without rotation": lambda: Particles.of(_many, _many[::-1], units=_units).upright(),
        "upright by an axis of zero": lambda: Particles.of(_many, _many, units=_units).upright(axis=(0, 0, 0)),
        "upright by an axis of NaN": lambda: Particles.of(_many, _many, units=_units).upright(axis=(nan, 0, 1)),
        "upright by an axis of text": lambda: Particles.of(_many, _many, units=_units).upright(axis="xyz"),
        **{f"around({k}={v!r})": lambda k=k, v=v: Particles.of(_many, _many, units=_units).around(**{k: v})
           for k, v in (("R", 0), ("R", -1), ("R", nan), ("R", inf), ("R", "8"), ("radius", 0), ("radius", nan), ("z", 9),
                        ("phi", inf), ("R", 1e6))},
        **{f"centred({k}={v!r})": lambda k=k, v=v: Particles.of(_many, _many, units=_units).centred(**{k: v})
           for k, v in (("shrink", 0), ("shrink", 1), ("shrink", 1.5), ("shrink", -1), ("shrink", nan), ("shrink", "0.8"),
                        ("fewest", 0), ("fewest", -5), ("fewest", 2.5), ("fewest", 1000))},
        "read from nowhere": partial(read_particles, "none.h5", "star", units=_units),
        "read from text": lambda: _written("a.h5") or read_particles("a.h5", "star", units=_units),
        "read with unknown names": lambda: _snapshot() and read_particles("s.h5", "star", units=_units, names={"x": "pos"}),
        "read another group": lambda: _snapshot() and read_particles("s.h5", "gas", units=_units),
        "read a group of a number": lambda: _snapshot() and read_particles("s.h5", 5, units=_units),
        "read a group that is a dataset": lambda: _snapshot() and read_particles("s.h5", "star/pos", units=_units),
        "read a dataset that is a group": lambda: _snapshot() and read_particles(
            "s.h5", "/", units=_units, names={"pos": "star", "vel": "star"}),
        "read names that are no text": lambda: _snapshot() and read_particles(
            "s.h5", "star", units=_units, names={"pos": 5}),
        "read a number": partial(read_particles, 5, "star", units=_units),
    }.items()
}  # fmt: skip


def _snapshot() -> bool:
    import h5py

    with h5py.File("s.h5", "w") as file:
        file["star/pos"], file["star/vel"] = _many, _many
    return True


# ---- fits, fields, what they are written as ---------------------------------------------------------------------------

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
    ("no axes", (), {"y": 0.0}), ("fixed of nothing", _axes, None), ("two systems", (Axis("R", 5, 9, 4), _axes[1]), {"y": 0}),
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
    "write_field: over another file": lambda: _written("there.nc") or interop.write_field(_field(), "there.nc"),
    "write_field: None": lambda: interop.write_field(_field(), None),
    "write_field: objects": lambda: interop.write_field(_field().assign(b=("x", [{}] * 4)), "a.fits"),
    "read_field: nowhere": partial(interop.read_field, "none.nc"),
    "read_field: text": lambda: _written("a.nc") or interop.read_field("a.nc"),
    "read_field: text as FITS": lambda: _written("a.fits") or interop.read_field("a.fits"),
    "read_field: a number": partial(interop.read_field, 5),
    "save_data: another ending": lambda: save_data(_field(), "a.txt"),
    "save_data: over another file": lambda: _written("there.csv") or save_data(_field(), "there.csv"),
    "save_data: a table as FITS": lambda: save_data(_frame, "a.fits"),
    "save_data: no folder": lambda: save_data(_frame, "none/a.csv"),
    "save_data: of nothing": partial(save_data, None, "a.csv"),
    "save_figure: another ending": lambda: save_figure(_curve(), "a.gif"),
    "save_figure: over another file": lambda: _written("there.png") or save_figure(_curve(), "there.png"),
    "save_figure: of nothing": partial(save_figure, None, "a.png"),
    "save_figure: dpi=0": lambda: save_figure(_curve(), "a.png", dpi=0),
}  # fmt: skip


def _field():
    return make_field(_axes, {"a": Quantity(np.ones((4, 4)), "km/s", "a")})


def _curve():
    import holoviews as hv

    return hv.Curve([(0, 1), (1, 2)])


# ---- mocks ------------------------------------------------------------------------------------------------------------

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
            ("clouds", -1), ("clouds", 2.5), ("clouds", "4"), ("clouds", 10**12), ("sizes", (0.2, 0.1)), ("sizes", (0, 1)),
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
            "scale=-1": lambda: mocks.add_errors(ball(), scale=-1), "scale=nan": lambda: mocks.add_errors(ball(), scale=nan),
            "scale of text": lambda: mocks.add_errors(ball(), scale="1"), "seed=-1": lambda: mocks.add_errors(ball(), -1),
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
