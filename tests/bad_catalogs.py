"""Kinds of bad catalogues, cuts and particles: name -> the call that must be refused."""

from functools import partial

import numpy as np
import pandas as pd
from astropy import units as u
from astropy.table import Table
from bad_arguments import CALL, inf, nan, written
from bad_files import catalog
from fakes import sky_stars

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
from clearview.units import Sun

KINDS = {}

# ---- catalogues and cuts ---------------------------------------------------------------------------------------------

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
    "to_galactocentric(NaN)": lambda c: c.with_columns({"pmra": np.full(len(c),
        nan) * u.mas / u.yr}).to_galactocentric(),
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
    "write(over another file)": lambda c: written("there.csv") or c.write("there.csv"),
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
    "resample(impossible correlations)": lambda c: resample(c.with_columns({"parallax_pmra_corr": np.full(len(c),
        2.0)}), 1),
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


# ---- particles -------------------------------------------------------------------------------------------------------

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
           for k, v in (("R", 0), ("R", -1), ("R", nan), ("R", inf), ("R", "8"), ("radius", 0), ("radius", nan),
               ("z", 9),
                        ("phi", inf), ("R", 1e6))},
        **{f"centred({k}={v!r})": lambda k=k, v=v: Particles.of(_many, _many, units=_units).centred(**{k: v})
           for k, v in (("shrink", 0), ("shrink", 1), ("shrink", 1.5), ("shrink", -1), ("shrink", nan), ("shrink",
               "0.8"),
                        ("fewest", 0), ("fewest", -5), ("fewest", 2.5), ("fewest", 1000))},
        "read from nowhere": partial(read_particles, "none.h5", "star", units=_units),
        "read from text": lambda: written("a.h5") or read_particles("a.h5", "star", units=_units),
        "read with unknown names": lambda: _snapshot() and read_particles("s.h5", "star", units=_units,
            names={"x": "pos"}),
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
