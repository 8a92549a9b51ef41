"""Figures on tiny canvases: exact arrays, names, units, and files."""

import subprocess
import sys

import holoviews as hv
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from clearview.field import Axis, Quantity, make_field
from clearview.figures import (
    arrows,
    count_field,
    limits_of,
    loss_curve,
    marker,
    points,
    profile,
    save_figure,
    slice_image,
)
from clearview.figures.style import equal_aspect, pretty_unit, title


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


def test_scales_and_limits(field):
    z = slice_image(field["a"] - 1, scale="diverging").vdims[0]
    assert z.cmap == "RdBu_r"
    assert z.range[0] == -z.range[1]
    assert slice_image(field["a"], limits=(0, 9), cmap="cividis").vdims[0].range == (0, 9)
    values = np.r_[np.linspace(0, 1, 1000), 1e9, np.nan]
    assert limits_of(values, percent=1)[1] < 1.1
    assert limits_of([0.0, 1.0, 100.0], "log", percent=0) == (1, 100)
    for scale in ("linear", "log", "diverging"):
        for values in ([], [np.nan], [0.0], [3.0, 3.0]):
            low, high = limits_of(values, scale)
            assert low < high
            assert scale != "log" or low > 0


def test_wrong_fields_are_refused_in_a_sentence(field):
    with pytest.raises(ValueError, match="Expected a field with 2 axes, got 1"):
        slice_image(field["a"][0])
    with pytest.raises(ValueError, match="Expected a scale among linear, log, diverging, got 'sqrt'"):
        slice_image(field["a"], scale="sqrt")  # type: ignore[arg-type]  (the wrong word is what is tested)
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


def test_profile_points_and_marker(field):
    curve = profile(field["a"][:, 0], label="a")
    np.testing.assert_array_equal(curve.dimension_values(1), [0, 3])
    assert len(points([1, 2], [3, 4])) == 2
    assert [type(k) for k in marker(8.1, 0)] == [hv.Points, hv.Text]


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


def test_saved_pictures_are_files_and_never_silently_replaced(field, history, tmp_path):
    picture = hv.Overlay([slice_image(field["a"], label="map"), arrows(field["a"], field["b"]), *marker(1, 0)])
    assert title(picture) == "map; longest arrow 7.07 km² kpc⁻¹ s⁻²"
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    for ending, start in starts.items():
        save_figure(picture, tmp_path / f"a.{ending}")
        assert (tmp_path / f"a.{ending}").read_bytes().startswith(start)
    with pytest.raises(FileExistsError, match="already there"):
        save_figure(picture, tmp_path / "a.png")
    save_figure(loss_curve(history), tmp_path / "a.png", overwrite=True)
    with pytest.raises(ValueError, match=r"\.png, \.svg or \.pdf"):
        save_figure(picture, tmp_path / "a.jpg")


def test_units_are_pretty_or_left_alone():
    assert pretty_unit("km2 s-2") == "km² s⁻²"
    assert pretty_unit("(km/s)²/kpc") == "(km/s)²/kpc"
    assert pretty_unit("km/s") == "km/s"
    assert pretty_unit("") is None
