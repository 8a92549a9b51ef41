"""Figures on tiny canvases: exact arrays, names, units, and files."""

import subprocess
import sys
from io import BytesIO

import holoviews as hv
import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.colors import to_hex

from clearview.field import Axis, Quantity, make_field
from clearview.figures import (
    arrows,
    contours,
    count_field,
    frame_of,
    hatch,
    limits_of,
    loss_curve,
    marker,
    path,
    points,
    profile,
    save_figure,
    slice_image,
    text,
)
from clearview.figures.save import EMPTY, draw
from clearview.figures.style import LINES, bar_ticks, equal_aspect, number, pretty_unit, round_levels, title


@pytest.fixture
def field() -> xr.Dataset:
    axes = (Axis("x", 0, 2, 2), Axis("z", -1, 2, 3, label="height"))
    a = np.arange(6.0).reshape(2, 3)
    unit = "km2 s-2 kpc-1"
    return make_field(axes, {"a": Quantity(a, unit, "|a|"), "b": Quantity(-a, unit, "b")})


def test_figures_load_no_browser_code_and_no_models():
    code = (
        "import sys, clearview.figures; "
        "print([m for m in ('jax', 'bokeh', 'panel', 'datashader', 'matplotlib') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_slice_image_has_the_values_names_and_units_of_the_field(field):
    image = slice_image(field["a"])
    np.testing.assert_array_equal(image.dimension_values(2, flat=False), field["a"].values.T)
    assert [d.pprint_label for d in image.kdims] == ["x [kpc]", "height [kpc]"]
    assert image.vdims[0].pprint_label == "|a| [km² kpc⁻¹ s⁻²]"
    assert image.bounds.lbrt() == (0, -1, 2, 2)
    assert equal_aspect(image)
    magnitudes = [Axis(n, 0, 2, 2, "mag") for n in ("bp_rp", "M_G")]
    assert not equal_aspect(slice_image(make_field(magnitudes, {"n": Quantity(np.ones((2, 2)), "", "n")})["n"]))


def test_scales_and_limits(field):
    z = slice_image(field["a"] - 1, scale="diverging").vdims[0]
    assert z.cmap == "RdBu_r"
    assert z.range[0] == -z.range[1]
    assert slice_image(field["a"], limits=(0, 9), cmap="cividis").vdims[0].range == (0, 9)
    values = np.r_[np.linspace(0, 1, 1000), 1e9, np.nan]
    assert limits_of(values, percent=1)[1] < 1.1
    assert limits_of([0.0, 1.0, 100.0], "log", percent=0) == (1, 100)


NAN, INF = np.nan, np.inf
ODD = {
    "none": [], "no value": [NAN, NAN], "zero": [0.0], "constant": [3.0, 3.0, 3.0], "one pixel": [NAN, -2.0, NAN],
    "infinities": [-INF, 1.0, 2.0, INF], "tiny": [1e-60, 2e-60], "huge": [1e300, -1e300], "negative": [-3.0, -1.0],
    "counts": np.array([0, 0, 1, 7], np.uint32), "no counts": np.zeros(4, np.uint32), "offset": 1e5 + np.r_[0, 1e-3],
    "rounding": np.float32([1e5, np.nextafter(np.float32(1e5), np.float32(2e5))]), "spike": np.r_[np.zeros(999), 5.0],
}  # fmt: skip


@pytest.mark.parametrize("scale", ["linear", "log", "diverging"])
@pytest.mark.parametrize("name", ODD)
def test_limits_and_ticks_of_odd_values(name, scale):
    values = np.asarray(ODD[name])
    low, high = limits_of(values, scale)
    assert -INF < low < high < INF
    shares, texts = zip(*bar_ticks(low, high, log=scale == "log", whole=values.dtype.kind == "u")[0], strict=True)
    assert 2 <= len(texts) == len(set(texts)) <= 10
    assert 0 <= min(shares) <= max(shares) <= 1
    assert min(np.diff(shares)) > 0.04
    if scale == "log":
        assert low > 0
    elif scale == "diverging":
        assert low == -high
    if name == "rounding" and scale == "linear":
        assert high - low > 1e4  # what rounding leaves is not shown as structure
    if name == "spike" and scale != "log":
        assert high == 5
    if name == "constant" and scale == "linear":
        assert (low + high) / 2 == 3


@pytest.mark.parametrize(
    ("low", "high", "kwargs", "expected", "base"),
    [
        (-85, 85, {}, "−80 −60 −40 −20 0 20 40 60 80", 0),
        (0, 1.5e7, {}, "0 2×10⁶ 4×10⁶ 6×10⁶ 8×10⁶ 10⁷ 1.2×10⁷ 1.4×10⁷", 0),
        (4000, 10700, {}, "4,000 5,000 6,000 7,000 8,000 9,000 10,000", 0),
        (99999.998, 100000.0024, {}, "−0.0020 −0.0015 −0.0010 −0.0005 0 0.0005 0.0010 0.0015 0.0020", 100000),
        (1, 3, {"whole": True}, "1 2 3", 0),
        (1, 20, {"log": True}, "1 2 5 10 20", 0),
        (1e-5, 1e5, {"log": True}, "10⁻⁴ 0.01 1 100 10,000", 0),
        (2.1, 4.9, {"log": True}, "2.5 3.0 3.5 4.0 4.5", 0),
        (2.1, 4.9, {"log": True, "whole": True}, "3 4", 0),
    ],
)
def test_ticks_are_round_numbers_in_words(low, high, kwargs, expected, base):
    ticks, relative_to = bar_ticks(low, high, **kwargs)
    assert " ".join(t[1] for t in ticks) == expected
    assert relative_to == pytest.approx(base)


def test_numbers_have_a_true_minus_and_thousands_apart():
    assert [number(v) for v in (5000, -12345.6, 0.25, 3.2e-7, -1e6, 0)] == [
        "5,000", "−12,346", "0.25", "3.2×10⁻⁷", "−10⁶", "0",
    ]  # fmt: skip


def test_wrong_fields_are_refused_in_a_sentence(field):
    with pytest.raises(ValueError, match="Expected a field with 2 axes, got 1"):
        slice_image(field["a"][0])
    with pytest.raises(ValueError, match="Expected a scale among linear, log, diverging, got 'sqrt'"):
        slice_image(field["a"], scale="sqrt")  # type: ignore[arg-type]  (the wrong word is what is tested)
    with pytest.raises(ValueError, match=r"Expected limits 0 < low < high, got \(0, 5\)"):
        slice_image(field["a"], scale="log", limits=(0, 5))
    with pytest.raises(ValueError, match="Expected limits low < high"):
        slice_image(field["a"], limits=(5, 5))
    with pytest.raises(ValueError, match="2 axes, got 1"):
        contours(field["a"][0])
    with pytest.raises(ValueError, match="as many x as y"):
        path([1, 2], [1])
    with pytest.raises(ValueError, match="1 axes, got 2"):
        profile(field["a"])


def test_arrows_point_along_the_field_and_name_the_longest(field):
    element = arrows(field["a"], field["b"], every=1)
    assert len(element) == 6
    k = int(np.argmax(element.dimension_values("Magnitude")))
    np.testing.assert_allclose(element.dimension_values("Angle")[k], -np.pi / 4, rtol=1e-6)
    assert element.label == "longest arrow 7.07 km² kpc⁻¹ s⁻²"
    assert len(arrows(field["a"].where(field["a"] > 2), field["b"], every=1)) == 3
    assert len(arrows(field["a"] * np.nan, field["b"])) == 0


def test_profile_points_marker_and_text(field):
    curve = profile(field["a"][:, 0], label="a")
    np.testing.assert_array_equal(curve.dimension_values(1), [0, 3])
    assert len(points([1, 2], [3, 4])) == 2
    assert [type(k) for k in marker(8.1, 0)] == [hv.Points, hv.Text]
    assert text(1, 2, "M 31").data[:3] == (1, 2, "M 31")


def test_points_and_paths_of_named_columns_name_the_axes(field):
    ra, dec = (xr.DataArray([1.0, 2.0], name=n, attrs={"units": "deg"}) for n in ("ra", "dec"))
    for element in (points(ra, dec), path(ra, dec)):
        assert [d.pprint_label for d in element.kdims] == ["ra [deg]", "dec [deg]"]
        assert [d.reverse for d in element.kdims] == [True, False]


def test_sky_longitudes_increase_to_the_left_unless_told_otherwise(field):
    def reverse(name, **attrs):
        axes = (Axis(name, 0, 2, 2, "deg"), Axis("b", 0, 3, 3, "deg"))
        made = make_field(axes, {"a": Quantity(np.ones((2, 3)), "", "a")})["a"]
        made[name].attrs.update(attrs)
        return slice_image(made).kdims[0].reverse

    assert reverse("ra")
    assert reverse("l")
    assert not reverse("l", reverse=0)
    assert not reverse("phi1")
    assert reverse("phot_g_mean_mag", reverse=1)


def paraboloid(n=61, offset=0.0) -> xr.DataArray:
    axes = (Axis("x", -3, 3, n), Axis("y", -2, 2, n))
    x, y = np.meshgrid(axes[0].values, axes[1].values, indexing="ij")
    return make_field(axes, {"p": Quantity(x**2 + y**2 + offset, "km2 s-2", "Φ")})["p"]


def test_contours_lie_where_the_field_has_their_value_and_say_which():
    lines = contours(paraboloid(), [1, 4])
    assert lines.label == "Φ contours at 1, 4 km² s⁻²"
    assert [d.pprint_label for d in lines.kdims] == ["x [kpc]", "y [kpc]"]
    for piece, level in zip(lines.data, (1, 4), strict=True):
        assert piece["p"] == level
        r2 = piece["x"] ** 2 + piece["y"] ** 2
        np.testing.assert_allclose(r2[np.isfinite(r2)], level, atol=0.01)
    assert np.isnan(lines.data[1]["x"]).sum() == 1  # two arcs, parted
    assert contours(paraboloid(), np.arange(1, 9)).label == "Φ contours at 8 values from 1 to 8 km² s⁻²"


def test_contours_are_round_numbers_between_the_percentiles():
    field = paraboloid(offset=-6)
    assert contours(field).label == "Φ contours every 2 km² s⁻²"
    assert [k["p"] for k in contours(field).data] == [-4, -2, 0, 2, 4]
    steep = contours(10 ** (paraboloid() / 4), scale="log")
    np.testing.assert_allclose([k["p"] for k in steep.data], [2, 5, 10, 20, 50, 100, 200])
    levels, step = round_levels(np.logspace(0, 12, 1000), "log")
    assert step is None
    assert len(levels) <= 13
    np.testing.assert_allclose(np.log10(levels), np.round(np.log10(levels)))


def test_contours_leave_gaps_and_need_a_field_that_varies():
    field = paraboloid()
    hole = (field.x - 1) ** 2 + field.y**2 < 0.3
    for value in (np.nan, np.inf):
        (line,) = contours(field.where(~hole, value), [1.0]).data
        x, y = (line[k][np.isfinite(line["x"])] for k in "xy")
        assert len(x) > 20
        np.testing.assert_allclose(x**2 + y**2, 1, atol=0.01)
        assert ((x - 1) ** 2 + y**2).min() > 0.2
    for empty, scale in (
        (field * np.nan, "linear"),
        (field * 0 + 1e5, "linear"),
        (field[:1], "linear"),
        (-field, "log"),
    ):
        lines = contours(empty, scale=scale)
        assert (len(lines.data), lines.label) == (0, "")
    assert len(contours(field, [99.0]).data) == 0


def test_nan_breaks_a_path():
    xy = frame_of(path([0, 1, np.nan, 2, 3], [0, 1, 5, 2, 3], "GD-1"))["layers"][0]
    assert xy["label"] == "GD-1"
    assert np.isnan(np.frombuffer(xy["xy"], "<f8").reshape(-1, 2)[2]).any()


def test_hatching_lies_in_the_cells_that_are_true():
    axes = (Axis("x", 4, 12, 16), Axis("z", -3, 3, 9))
    x, z = np.meshgrid(axes[0].values, axes[1].values, indexing="ij")
    values = ((x - 9) ** 2 + z**2 < 4) | (x < 5)
    mask = make_field(axes, {"m": Quantity(values, "", "m")})["m"]
    strokes = hatch(mask, "not constrained", strokes=60)
    assert title(slice_image(mask * 1.0) * strokes) == "hatched: not constrained"
    (layer,) = frame_of(slice_image(mask * 1.0) * strokes)["layers"]
    assert (layer["kind"], layer["dash"]) == ("contours", [])
    xy = np.frombuffer(layer["xy"], "<f8").reshape(-1, 2)[:-1].reshape(-1, 3, 2)  # start, end, NaN
    assert np.isnan(xy[:, 2]).all()
    step = xy[:, 1] - xy[:, 0]
    np.testing.assert_allclose(step[:, 0], step[:, 1])  # at 45 degrees where a circle is round
    at = (xy[:, :1] + np.linspace(0.01, 0.99, 50)[:, None] * step[:, None]).reshape(-1, 2)
    i, j = np.floor((at[:, 0] - 4) / 0.5).astype(int), np.floor((at[:, 1] + 3) / (2 / 3)).astype(int)
    assert values[i, j].all()
    whole = hatch(mask | True, strokes=60).data[0]
    drawn = [np.nansum(np.diff(k["x"][~np.isnan(k["x"])].reshape(-1, 2))) for k in (strokes.data[0], whole)]
    np.testing.assert_allclose(drawn[0] / drawn[1], values.mean(), rtol=0.1)


def test_hatching_of_nothing_is_nothing_and_needs_booleans(field):
    nothing = hatch(field["a"] > 99, "none")
    assert (len(nothing.data), nothing.label) == (0, "")
    save_figure(slice_image(field["a"]) * nothing * hatch(field["a"] > 2), BytesIO())
    with pytest.raises(TypeError, match="Expected a field of booleans, got float64"):
        hatch(field["a"])
    with pytest.raises(ValueError, match="2 axes, got 1"):
        hatch(field["a"][0] > 0)


def test_counts_are_exact_and_named():
    axes = (Axis("vR", 0, 2, 2, "km/s", "v_R"), Axis("z", 0, 3, 3))
    counts = count_field([0.5, 0.5, 1.5, 9.0], [0.5, 0.5, 2.5, 0.5], axes)
    np.testing.assert_array_equal(counts, [[2, 0, 0], [0, 0, 1]])
    assert counts.dims == ("vR", "z")
    assert counts["vR"].attrs == {"units": "km/s", "long_name": "v_R"}
    with pytest.raises(ValueError, match="columns of one length"):
        count_field([1.0], [1.0, 2.0], axes)


@pytest.fixture
def history() -> pd.DataFrame:
    steps = np.arange(1000)
    flow = pd.DataFrame({"stage": "flow", "step": steps, "train": 1.0 / (1 + steps), "validation": np.nan})
    flow.loc[::100, "validation"] = 2.0
    return pd.concat([flow.assign(stage="old"), flow])


def test_loss_curve_shows_the_last_stage_thinned(history):
    training, validation = loss_curve(history)
    assert (training.label, validation.label) == ("training", "validation")
    assert len(training) <= 400
    assert len(validation) == 10
    assert loss_curve(history, "old").label == "old"
    assert len(next(iter(loss_curve(history[:0])))) == 0
    with pytest.raises(ValueError, match="Expected a stage among old, flow, got 'new'"):
        loss_curve(history, "new")
    with pytest.raises(ValueError, match="validation missing"):
        loss_curve(history.drop(columns="validation"))


def everything(field) -> hv.Overlay:
    image = slice_image(field["a"].where(field["a"] > 0), label="map")
    over = [contours(field["a"], [2.5]), arrows(field["a"], field["b"]), path([0, 1, 2], [0, 1, 0], "stream")]
    return hv.Overlay(
        [image, *over, path([0, 2], [1, 1], "orbit"), points([0.5, 1.5], [0, 1], label="clusters"), *marker(1, 0)]
    )


def test_saved_pictures_are_files_and_never_silently_replaced(field, history, tmp_path):
    picture = everything(field)
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    for ending, start in starts.items():
        save_figure(picture, tmp_path / f"a.{ending}")
        assert (tmp_path / f"a.{ending}").read_bytes().startswith(start)
    with pytest.raises(FileExistsError, match="already there"):
        save_figure(picture, tmp_path / "a.png")
    save_figure(loss_curve(history), tmp_path / "a.png", overwrite=True)
    with pytest.raises(ValueError, match=r"\.png, \.svg or \.pdf"):
        save_figure(picture, tmp_path / "a.jpg")


def test_saving_says_nothing(field, caplog, recwarn):
    save_figure(everything(field), BytesIO())
    assert (caplog.records, list(recwarn)) == ([], [])  # matplotlib's words would stand in the notebook


def test_a_saved_picture_has_all_that_the_canvas_has(field):
    element = everything(field)
    assert title(element) == "map; |a| contours at 2.5 km² kpc⁻¹ s⁻²; longest arrow 7.07 km² kpc⁻¹ s⁻²"
    plot, bar = draw(frame_of(element)).axes
    assert plot.get_title(loc="left").replace("\n", " ") == title(element)
    assert (plot.get_xlabel(), plot.get_ylabel(), bar.get_ylabel()) == (
        "x [kpc]",
        "height [kpc]",
        "|a| [km² kpc⁻¹ s⁻²]",
    )
    assert plot.get_aspect() == 1
    lines = plot.get_lines()
    assert len(lines) == 6  # contours, arrows, two paths, points, the marker
    assert {to_hex(k.get_color()) for k in lines} == {"#ffffff"}
    assert all(k.get_path_effects() for k in [*lines, *plot.texts])  # the rim
    assert lines[2].get_linestyle() != lines[3].get_linestyle()
    assert [t.get_text() for t in plot.get_legend().get_texts()] == ["stream", "orbit", "clusters"]
    assert [t.get_text() for t in plot.texts] == ["Sun"]
    assert [t.get_text() for t in bar.get_yticklabels()] == ["1.5", "2.0", "2.5", "3.0", "3.5", "4.0", "4.5"]


def test_saved_curves_are_coloured_named_and_told_apart(field):
    curves = [profile(field["a"][:, 0] + i, label=f"c{i}") for i in range(7)]
    (plot,) = draw(frame_of(hv.Overlay(curves))).axes
    assert [to_hex(k.get_color()) for k in plot.get_lines()] == [*LINES, LINES[0]]
    assert plot.get_lines()[0].get_linestyle() != plot.get_lines()[6].get_linestyle()
    assert [t.get_text() for t in plot.get_legend().get_texts()] == [f"c{i}" for i in range(7)]
    assert not plot.get_lines()[0].get_path_effects()


def test_saved_axes_may_be_reversed(field):
    field = field.assign_coords(x=field.x.assign_attrs(reverse=1))
    left, right = draw(frame_of(everything(field))).axes[0].get_xlim()
    assert left > right


@pytest.mark.parametrize("scale", ["linear", "log", "diverging"])
def test_no_value_is_the_ground_in_a_saved_picture(scale):
    axes = (Axis("x", 0, 3, 3), Axis("y", 0, 3, 3))
    values = np.full((3, 3), np.nan)
    values[0, 0] = -1.0 if scale == "linear" else 2.0
    file = BytesIO()
    save_figure(slice_image(make_field(axes, {"a": Quantity(values, "", "a")})["a"], scale=scale), file)
    file.seek(0)
    pixels = (matplotlib.image.imread(file)[..., :3] * 255).round().astype(int)
    assert (pixels[0, 0] == 255).all()  # opaque white around, on any page
    empty = (pixels == int(EMPTY[1:3], 16)).all(-1).mean()
    assert 0.4 < empty < 0.8  # eight of nine cells


def test_units_are_pretty_or_left_alone():
    assert pretty_unit("km2 s-2") == "km² s⁻²"
    assert pretty_unit("(km/s)²/kpc") == "(km/s)²/kpc"
    assert pretty_unit("km/s") == "km/s"
    assert pretty_unit("") is None
