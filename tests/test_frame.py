"""What the canvas and matplotlib are sent."""

from io import BytesIO

import holoviews as hv
import numpy as np
import pytest
import xarray as xr

from clearview.field import Axis, Quantity, make_field
from clearview.figures import (
    arrows,
    contours,
    frame_of,
    marker,
    pack,
    path,
    picture,
    points,
    profile,
    show,
    slice_image,
)
from clearview.figures.frame import codes_of
from clearview.figures.save import draw


def image(values, **kwargs):
    axes = (Axis("x", 0, 2, 2), Axis("y", 0, 3, 3))
    return slice_image(make_field(axes, {"a": Quantity(values, "km2 s-2", "Φ")})["a"], **kwargs)


def codes(frame) -> np.ndarray:
    return np.frombuffer(frame["codes"], "<u2").reshape(frame["h"], frame["w"])


def test_codes_run_over_the_limits_bottom_row_first_and_nan_is_zero():
    values = np.array([[0.0, 1, 2], [3, np.nan, 9]])
    frame = frame_of(image(values, limits=(0, 3)))
    share = (codes(frame).astype(float) - 1) / 65534
    np.testing.assert_allclose(share[:, 0], [0, 1 / 3, 2 / 3], atol=2e-5)
    assert share[0, 1] == share[2, 1] == 1  # 9 is beyond the scale
    assert codes(frame)[1, 1] == 0
    assert frame["range"] == [0, 2, 0, 3]
    assert frame["equal"]
    assert frame["z"] == {"name": "Φ", "unit": "km² s⁻²", "label": "Φ [km² s⁻²]", "reverse": False}
    assert [t[1] for t in frame["ticks"]] == ["0", "0.5", "1.0", "1.5", "2.0", "2.5", "3.0"]


def test_log_codes_leave_out_what_is_not_positive():
    values = np.array([[0.0, 1, 10], [100, -1, np.nan]])
    frame = frame_of(image(values, scale="log", limits=(1, 100)))
    np.testing.assert_array_equal(codes(frame), [[0, 65535], [1, 0], [32768, 0]])
    assert frame["log"]


@pytest.mark.parametrize("scale", ["linear", "log", "diverging"])
@pytest.mark.parametrize(
    "values",
    [
        np.full((2, 3), np.nan), np.full((2, 3), 5.0), np.zeros((2, 3)), [[np.nan, 2, np.nan], [np.nan] * 3],
        [[np.inf, 1, 2], [-np.inf, 3, np.nan]], [[1e-60, 2e-60, 3e-60], [0, -1e-60, np.nan]],
        [[1e300, 2e300, 3e300], [0, -1e300, np.nan]], [[1e5, 1e5 + 1e-6, 1e5 + 2e-6], [np.nan, 1e5, 1e5]],
        np.array([[0, 0, 1], [3, 200, 0]], np.uint32), -np.ones((2, 3)),
    ],
)  # fmt: skip
def test_exactly_what_has_a_value_has_a_colour(values, scale):
    values = np.asarray(values)
    with np.errstate(all="raise", under="ignore"):
        frame = frame_of(image(values, scale=scale))
    seen = np.isfinite(values) & (values > 0) if scale == "log" else np.isfinite(values)
    np.testing.assert_array_equal(codes(frame) > 0, seen.T)
    if (
        len(np.unique(values[seen])) > 1
        and values.dtype.kind == "f"
        and np.nanmax(values[seen]) > np.nanmin(values[seen])
    ):
        assert len(np.unique(codes(frame)[seen.T])) > 1
    assert len(frame["ticks"]) > 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_lies_far_beyond_the_limits_has_the_last_colour(dtype):
    most = np.finfo(dtype).max
    frame = frame_of(image(np.array([[most, 1, 0], [-most, -1, 2]], dtype), limits=(-1e-3, 1e-3)))
    np.testing.assert_array_equal(codes(frame).T, [[65535, 65535, 32768], [1, 1, 65535]])


def test_a_small_range_around_a_large_value_is_told_relative_to_it():
    frame = frame_of(image(1e5 + np.array([[0, 1, 2], [3, 4, 5]]) * 1e-4))
    assert frame["z"]["label"] == "Φ [km² s⁻²] − 100,000"
    share = (codes(frame).astype(float).T.ravel() - 1) / 65534
    assert np.ptp(np.diff(share)[1:-1]) < 1e-3  # double precision


def counted(values, name, cmap) -> hv.Image:
    axes = (Axis("x", 0, 2, 2), Axis("y", 0, 3, 3))
    field = make_field(axes, {name: Quantity(np.array(values, np.uint32), "", name)})[name]
    return slice_image(field, scale="log", cmap=cmap, limits=(1, 20))


def test_of_two_pictures_the_first_lies_under_the_second_which_has_the_bar():
    under, over = (
        counted([[0, 1, 2], [3, 9, 12]], "stars", "Greys"),
        counted([[0, 0, 1], [0, 4, 20]], "selected", "viridis"),
    )
    one, two, both = frame_of(under), frame_of(over), frame_of(hv.Overlay([under, over]))
    assert both["under"] == {k: one[k] for k in ("codes", "w", "h", "low", "high", "log", "whole", "lut", "z", "range")}
    assert {k: v for k, v in both.items() if k != "under"} == two
    linear = over.redim(selected=over.vdims[0].clone(scale="linear", range=(0, 20)))
    assert (codes(frame_of(linear)) == 0).sum() == 0
    np.testing.assert_array_equal(codes(frame_of(hv.Overlay([under, linear]))) > 0, np.array([[0, 0, 1], [0, 1, 1]]).T)
    with pytest.raises(TypeError, match="at most two pictures, one above the other, got 3; draw them side by side"):
        frame_of(hv.Overlay([under, over, over]))


def test_both_pictures_are_saved():
    grey, over = counted([[9] * 3] * 2, "stars", "Greys"), counted([[0] * 3, [20] * 3], "selected", "viridis")
    below, above = (np.asarray(k.get_array()) for k in draw(frame_of(grey * over)).axes[0].images)
    assert (below[..., 3] == 255).all()
    assert np.ptp(below[..., :3].astype(int), -1).max() == 0  # grey
    np.testing.assert_array_equal(above[..., 3], [[0, 255]] * 3)


@pytest.mark.parametrize("kind", ["smooth", "gaps", "noise", "counts"])
def test_packed_pictures_are_the_same_and_smaller(kind):
    n = np.linspace(-3, 3, 200)
    values = np.exp(-(n[:, None] ** 2) - (n - 1) ** 2) - np.cos(2 * n)
    noise = np.random.default_rng(0)
    if kind == "gaps":
        values[50:90, 20:60] = np.nan
    elif kind != "smooth":
        values = (
            noise.poisson(3, values.shape).astype(np.uint32) if kind == "counts" else noise.normal(size=values.shape)
        )
    axes = (Axis("x", 0, 2, 200), Axis("y", 0, 2, 200))
    element = slice_image(make_field(axes, {"a": Quantity(values, "", "a")})["a"], limits=(0, 8))
    frame = frame_of(element)
    packed = pack(frame)
    np.testing.assert_array_equal(codes_of(packed), codes(frame))
    assert {k: v for k, v in packed.items() if k not in ("codes", "packed")} == {
        k: v for k, v in frame.items() if k != "codes"
    }
    assert pack(packed) is packed
    if kind != "noise":
        assert len(packed["codes"]) < len(frame["codes"]) / 2.5
    assert picture(packed) == picture(frame)
    both = pack(frame_of(hv.Overlay([element, element])))
    np.testing.assert_array_equal(codes_of(both["under"]), codes(frame))
    small = frame_of(image(np.eye(2, 3)))
    assert pack(small) is small  # not worth it


def layers_of(*elements) -> list[dict]:
    return frame_of(hv.Overlay(elements))["layers"]


def xy_of(layer, columns=2) -> np.ndarray:
    return np.frombuffer(layer["xy"], "<f8").reshape(-1, columns)


def test_vector_layers():
    values = np.ones((2, 3))
    field = xr.DataArray(values, {"x": [0.5, 1.5], "y": [0.5, 1.5, 2.5]}, ["x", "y"], "a_x")
    pieces = hv.Path([[(0, 0), (1, 1)], [(1, 0), (0, 1)]], ["x", "y"])
    lines = hv.Contours([{"x": [0, 1], "y": [0, 1], "level": 1}], ["x", "y"], "level")
    overlay = [image(values), arrows(field, 0 * field, every=1), *marker(1, 2), pieces, lines]
    layers = {k["kind"]: k for k in layers_of(*overlay)}
    x, y, dx, dy = xy_of(layers["arrows"], 4)[0]
    assert (x + dx / 2, y, dy) == pytest.approx((0.5, 0.5, 0))
    np.testing.assert_array_equal(xy_of(layers["points"]), [[1, 2]])
    assert layers["text"]["text"] == "Sun"
    nan = [np.nan, np.nan]
    np.testing.assert_array_equal(xy_of(layers["path"]), [[0, 0], [1, 1], nan, [1, 0], [0, 1], nan])
    np.testing.assert_array_equal(xy_of(layers["contours"]), [[0, 0], [1, 1], nan])
    with pytest.raises(TypeError, match="got Bars; draw it as one of these"):
        frame_of(hv.Overlay([image(values), hv.Bars([(1, 2)], "x", "y")]))


def test_empty_layers_are_drawn_as_nothing():
    empty = xr.DataArray(np.full((2, 3), np.nan), {"x": [0.5, 1.5], "y": [0.5, 1.5, 2.5]}, ["x", "y"], "a_x")
    layers = layers_of(image(np.ones((2, 3))), contours(empty), arrows(empty, empty), points([], []), path([], []))
    assert not any(np.isfinite(np.frombuffer(k["xy"], "<f8")).any() for k in layers)


def test_lines_over_a_picture_differ_in_pattern_and_others_in_colour():
    tracks = [path([0, 1], [0, i], f"{i}") for i in range(5)]
    over = layers_of(image(np.ones((2, 3))), *tracks)
    assert {(k["ink"], k["rim"]) for k in over} == {("white", "black")}
    assert len({tuple(k["dash"]) for k in over}) == 4
    alone = layers_of(*tracks, *marker(0, 0))
    assert [k["rim"] for k in alone] == [""] * 7
    assert len({(k["ink"], tuple(k["dash"])) for k in alone[:5]}) == 5
    assert alone[-1]["ink"] == ""  # words have the colour of the page's text


def test_arrows_fill_their_cells_also_where_the_axes_have_different_units():
    axes = (Axis("z", 0, 1, 10), Axis("vz", 0, 1000, 10, "km/s"))
    one = Quantity(np.ones((10, 10)), "", "")
    field = make_field(axes, {"a": one, "b": one})
    frame = frame_of(hv.Overlay([slice_image(field["a"]), arrows(field["a"], field["b"], every=1)]))
    dx, dy = xy_of(frame["layers"][0], 4)[0, 2:]
    assert 0.05 < dx < 0.1
    assert 50 < dy < 100


def test_a_plot_without_a_picture_has_a_margin():
    curve = profile(xr.DataArray([1.0, 3.0], {"x": [0.0, 4.0]}, ["x"], "y"))
    frame = frame_of(curve)
    assert "codes" not in frame
    assert frame["range"] == pytest.approx([0, 4, 0.88, 3.12])
    assert frame_of(hv.Curve([], "x", "y"))["range"] == pytest.approx([0, 1, -0.06, 1.06])


def test_one_curve_is_named_in_its_legend_only():
    one = frame_of(hv.Overlay([hv.Curve([1, 2, 3], label="stars")]))
    assert (one["title"], one["layers"][0]["label"]) == ("", "stars")
    named = frame_of(hv.Overlay([hv.Curve([1, 2, 3], label="training")], label="density"))
    assert named["title"] == "density"


def on_z(values, name="v", **attrs) -> xr.DataArray:
    return xr.DataArray(np.asarray(values, float), {"z": np.arange(float(len(values)))}, ["z"], name, attrs)


def test_a_band_is_the_outline_of_its_errors_in_the_ink_of_its_curve():
    field, error = on_z([1, 2, np.nan, 4, 5]), on_z([0.1, 0.2, 0.3, 0.4, 0.5])
    other, fit = profile(on_z([0] * 5), label="other"), profile(field, error=error, label="fit")
    truth = profile(field, label="fit", dashed=True)
    frame = frame_of(other * fit * truth)
    zero, band, line, dashed = frame["layers"]
    assert [k["kind"] for k in frame["layers"]] == ["curve", "band", "curve", "curve"]
    assert [k["label"] for k in frame["layers"]] == ["other", "", "fit", "fit"]
    assert band["ink"] == line["ink"] not in (zero["ink"], dashed["ink"])
    assert (band["dash"], line["dash"], dashed["dash"]) == ([], [], [7, 4])
    nan = [np.nan, np.nan]
    expected = [[0, 0.9], [1, 1.8], [1, 2.2], [0, 1.1], nan, [3, 3.6], [4, 4.5], [4, 5.5], [3, 4.4], nan]
    np.testing.assert_allclose(xy_of(band), expected)
    assert frame["range"][2:] == pytest.approx([-0.33, 5.83])  # all of the band
    area = hv.Area((np.arange(3.0), np.arange(3.0), np.arange(3.0) + 1), "z", ["low", "high"], label="range")
    alone = frame_of(area)["layers"][0]
    assert (alone["kind"], alone["label"]) == ("band", "range")
    np.testing.assert_allclose(xy_of(alone)[:-1], [[0, 0], [1, 1], [2, 2], [2, 3], [1, 2], [0, 1]])
    assert frame_of(area * profile(on_z([1, 2, 3])))["y"]["label"] == "v"
    (plot,) = draw(frame_of(other * fit * area)).axes
    assert [len(k.get_xy()) for k in plot.patches] == [5, 5, 7]
    assert [t.get_text() for t in plot.get_legend().get_texts()] == ["other", "fit", "range"]


def test_errors_of_another_axis_or_unit_are_refused():
    field = on_z([1, 2], units="km/s")
    for wrong in (on_z([1, 2, 3]), xr.DataArray([1.0, 2.0], {"z": [5.0, 6.0]}, ["z"])):
        with pytest.raises(
            ValueError, match=r"Expected errors on the axis of the field \(z, 2 values\), got z of shape"
        ):
            profile(field, error=wrong)
    with pytest.raises(ValueError, match=r"Expected errors of at least 0 in km/s, got 1 and more in m/s; convert them"):
        profile(field, error=on_z([1, 2], units="m/s"))
    with pytest.raises(ValueError, match="got -1 and more in km/s"):
        profile(field, error=on_z([-1, 2]))
    with pytest.raises(ValueError, match="Expected a scale among linear, log for a curve, got 'diverging'"):
        profile(field, scale="diverging")


def test_a_logarithmic_axis_holds_what_is_positive_and_leaves_gaps():
    field = on_z([1, 100, 0, -5, 10_000, np.nan])
    frame = frame_of(profile(field, error=on_z([2, 1, 1, 1, 1000, 1]), scale="log"))
    assert frame["y"]["log"]
    assert not frame_of(profile(field))["y"]["log"]
    assert not frame_of(image(np.ones((2, 3)), scale="log"))["y"]["log"]
    low, high = np.log10(frame["range"][2:])
    assert (low, high) == pytest.approx((-0.242, 4.284), abs=0.01)
    assert xy_of(frame["layers"][0])[0, 1] == 1e-300  # the band goes down to nothing
    plot = draw(frame).axes[0]
    assert plot.get_yscale() == "log"
    assert [t.get_text() for t in plot.get_yticklabels()] == [
        "1",
        "3",
        "10",
        "30",
        "100",
        "300",
        "1,000",
        "3,000",
        "10,000",
    ]
    np.testing.assert_allclose(plot.get_yticks()[:3], [1, 3, 10])
    nothing = frame_of(profile(on_z([0, -1]), scale="log"))["range"]
    assert nothing[3] > nothing[2] > 0


def test_elements_are_shown_side_by_side():
    from matplotlib.image import imread

    curve = profile(xr.DataArray([1.0, 3.0], {"x": [0.0, 4.0]}, ["x"], "y"))
    one, two, both = (
        imread(BytesIO(show(*k)._repr_png_())) for k in ([curve], [image(np.eye(2, 3))], [curve, image(np.eye(2, 3))])
    )
    assert one.shape[0] != two.shape[0]
    assert both.shape == (max(len(one), len(two)), one.shape[1] + two.shape[1], 4)
    assert (both[:, : one.shape[1], :3].min(2) < 0.5).any()
    assert (np.ptp(both[:, one.shape[1] :, :3], axis=2) > 0.3).any()  # the colours of the picture
    assert (np.ptp(both[:, : one.shape[1] - 10, :3], axis=2) > 0.3).mean() < 0.05
    with pytest.raises(ValueError, match="got none"):
        show()
