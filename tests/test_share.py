"""What leaves a panel: pictures, numbers, code."""

import holoviews as hv
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from fakes import FakeFit, fake_dynamics, stars

import clearview
from clearview.figures import data_of, frame_of, profile, save_figure, slice_image
from clearview.figures.save import draw
from clearview.interop import read_field
from clearview.panels import AccelerationPanel, PhaseSpacePanel, base
from clearview.panels.compare import Window
from clearview.panels.share import _stars, save_data
from clearview.samples import load_sample
from clearview.units import Sun


@pytest.fixture
def panel(monkeypatch):
    monkeypatch.setattr(base, "dynamics", fake_dynamics)
    catalog = stars(2000)
    panel = AccelerationPanel(catalog, FakeFit(catalog.digest()), size=64, threaded=False)
    yield panel
    panel.close()


def pressed(panel, name: str, path) -> str:
    panel.share.path.value = str(path)
    getattr(panel.share, name).click()
    return panel.status


def test_what_is_seen_is_saved_with_units(panel, tmp_path):
    panel.set(plane="x-z", y=0.5, component="a_z")
    assert pressed(panel, "picture", tmp_path / "a.pdf") == f"Saved the picture to {tmp_path / 'a.pdf'}."
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert pressed(panel, "numbers", tmp_path / "a.pdf") == f"Saved the data to {tmp_path / 'a.nc'}."
    field = read_field(tmp_path / "a.nc")
    image = next(iter(panel.figure()))
    np.testing.assert_allclose(field.a_z.values.T, image.dimension_values(2, flat=False), rtol=1e-6)
    assert field.a_z.attrs["units"] == "km2 s-2 kpc-1"
    assert field.attrs["at_y"] == 0.5
    pressed(panel, "numbers", tmp_path / "a.csv")
    table = pd.read_csv(tmp_path / "a.csv")
    assert {"x [kpc]", "z [kpc]", "a_z [km2 s-2 kpc-1]"} <= set(table.columns)
    assert len(table) == field.a_z.size


def test_nothing_is_overwritten_in_silence(panel, tmp_path):
    for name, path in (
        ("picture", tmp_path / "a.png"),
        ("numbers", tmp_path / "a.csv"),
        ("numbers", tmp_path / "a.nc"),
    ):
        path.write_text("mine")
        assert "already there" in pressed(panel, name, path) or "exists" in panel.status
        assert path.read_text() == "mine"
        panel.share.overwrite.value = True
        assert "Saved" in pressed(panel, name, path)
        assert path.read_bytes() != b"mine"
        panel.share.overwrite.value = False
    assert "Expected a path ending in .nc, .fits, .csv, got 'a.txt'" in pressed(panel, "numbers", tmp_path / "a.txt")
    assert "Expected a path ending in .png, .svg or .pdf" in pressed(panel, "picture", tmp_path / "a.txt")
    assert "got an empty one" in pressed(panel, "picture", "")
    assert "none; make it first" in pressed(panel, "numbers", tmp_path / "no" / "a.csv")


def run(code: str, catalog, fit, folder, monkeypatch):
    """What the code draws, where its catalogue and fit stand for those of its files."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(clearview, "mock_galaxy", lambda *args, **kwargs: catalog, raising=False)
    monkeypatch.setattr(clearview, "read_catalog", lambda *args, **kwargs: catalog, raising=False)
    monkeypatch.setattr(clearview, "load_fit", lambda path: fit, raising=False)
    names: dict = {}
    exec(code.replace("= ...", "= stars"), {"stars": catalog} | names, names)
    assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")
    return names["panel"]


def same(a, b) -> bool:
    one, other = frame_of(a), frame_of(b)
    return all(one[k] == other[k] for k in ("codes", "range", "title", "low", "high", "z")) and all(
        k["xy"] == q["xy"] for k, q in zip(one["layers"], other["layers"], strict=True)
    )


def test_the_code_draws_the_same_picture(panel, tmp_path, monkeypatch):
    panel.set(plane="R-z", show="difference", component="a_z", phi=3.0, contours=True, scale="linear")
    panel.view.range = [7.0, 9.0, -1.0, 1.0]
    code = panel.code()
    assert len(code.splitlines()) < 10
    again = run(code, panel.catalog, panel.fit, tmp_path, monkeypatch)
    assert same(panel.figure(), again.figure())
    assert "lock" not in code  # what was not changed is not said
    again.close()


def test_the_code_of_a_panel_of_stars(tmp_path, monkeypatch):
    panel = PhaseSpacePanel(stars(5000), size=64, threaded=False)
    panel.set(x_axis="vx", y_axis="vy", first="x", first_at=8.5, first_width=0.5)
    again = run(panel.code(), panel.catalog, None, tmp_path, monkeypatch)
    assert same(panel.figure(), again.figure())
    panel.close()
    again.close()


def test_the_code_tells_the_sun_and_the_distance():
    stars = load_sample("rave_tgas")
    made = _stars(stars.to_galactocentric("gravity2021"))[1]
    assert made.endswith("(\"rave_tgas\").to_galactocentric('gravity2021')".replace('"', "'"))
    assert _stars(stars.to_galactocentric(Sun(8.0, 0.01)))[1].endswith(
        ".to_galactocentric(clearview.units.Sun(R=8.0, z=0.01, v_radial=12.9, v_phi=245.6, v_z=7.78))"
    )
    assert _stars(stars.to_galactocentric())[1].endswith(".to_galactocentric()")


def test_the_code_of_selected_stars_along_a_stream(tmp_path, monkeypatch):
    catalog = load_sample("gd1_strip").to_stream("GD-1", reflex_distance=8.0)
    panel = clearview.StarsPanel(catalog, size=64, threaded=False)
    motions = ("pm_phi1", "pm_phi2")
    panel.selection.choose(motions, [-9, -2, -7, -2, -7, 1, -9, 1], windows=[Window("phi2", 0.0, 0.5)])
    panel.selection.invert()
    code = panel.code()
    assert "load_sample('gd1_strip').to_stream('GD-1', reflex_distance=8.0)" in code
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code, names)
    again = names["panel"]
    assert again.selection.number == panel.selection.number
    assert 0 < again.selection.number < len(catalog)
    for one, other in zip(panel.figure(), again.figure(), strict=True):
        assert frame_of(one)["range"] == pytest.approx(frame_of(other)["range"])
    panel.close()
    again.close()


def test_the_code_names_the_file_of_the_fit(panel, tmp_path):
    assert 'after panel.save("fit.clearview")' in panel.code()
    panel.save(tmp_path / "mine.clearview")
    assert f"fit = clearview.load_fit({str(tmp_path / 'mine.clearview')!r})" in panel.code()


def test_curves_become_a_table(tmp_path):
    z = np.linspace(-1, 1, 5)
    field = xr.DataArray(z**2, {"z": ("z", z, {"units": "kpc"})}, name="K_z", attrs={"units": "km2 s-2 kpc-1"})
    table = data_of(profile(field, label="map"))
    assert list(table.columns) == ["layer", "z [kpc]", "K_z [km² kpc⁻¹ s⁻²]"]
    np.testing.assert_array_equal(table["K_z [km² kpc⁻¹ s⁻²]"], z**2)
    base.save_data(table, tmp_path / "k.csv")
    assert pd.read_csv(tmp_path / "k.csv").shape == (5, 3)
    with pytest.raises(ValueError, match=r"ending in \.csv"):
        base.save_data(table, tmp_path / "k.nc")
    with pytest.raises(ValueError, match="Expected a picture, curves or points"):
        data_of(hv.Text(0, 0, "no"))


def test_pictures_side_by_side_are_saved_together(tmp_path, rng):
    def image(name: str, step: float = 1.0):
        field = xr.DataArray(rng.normal(size=(30, 20)), dims=("x", "y"), name=name, attrs={"units": "kpc"})
        return slice_image(field.assign_coords(x=step * np.arange(30.0), y=np.arange(20.0)), label=name)

    layout = hv.Layout([image(name) for name in "abc"]).cols(2)
    figure = draw(*(frame_of(k) for k in layout), columns=2)
    assert [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")] == ["a", "b", "c"]
    for ending in ("png", "svg", "pdf"):
        save_figure(layout, tmp_path / f"all.{ending}")
        assert (tmp_path / f"all.{ending}").stat().st_size > 5000
    assert set(data_of(layout).data_vars) == set("abc")
    other = xr.DataArray(np.ones((4, 4)), dims=("x", "z"), coords={"x": np.arange(4.0), "z": np.arange(4.0)}, name="d")
    several = data_of(hv.Layout([image("a"), slice_image(other)]))
    assert several["a_1"].dims == ("x_1", "y_1")
    assert several["d_2"].dims == ("x_2", "z_2")
    np.testing.assert_array_equal(several["x_2"], np.arange(4.0))
    for ending in ("nc", "fits"):
        save_data(several, tmp_path / f"several.{ending}")
        read = read_field(tmp_path / f"several.{ending}")
        xr.testing.assert_allclose(read[["a_1", "d_2"]], several)
        assert read["a_1"].attrs["units"] == "kpc"
    with pytest.raises(ValueError, match="for views on different axes, got"):
        save_data(several, tmp_path / "several.csv")
    zoomed = data_of(hv.Layout([image("a"), image("b", 0.5)]))
    assert zoomed["b_2"].dims == ("x_2", "y_2")
    assert zoomed["x_2"][-1] == 14.5
    assert isinstance(data_of(hv.Layout([hv.Points([(0.0, 1.0)])])), pd.DataFrame)
    mixed = data_of(hv.Layout([image("a"), hv.Curve([(0.0, 1.0), (2.0, 3.0)], label="truth")]))
    assert mixed["a_1"].shape == (30, 20)
    np.testing.assert_array_equal(mixed["y_2"], [1.0, 3.0])
    assert list(mixed["layer_2"].values) == ["truth"] * 2
    points = data_of(hv.Layout([hv.Points([(0.0, 1.0)]), hv.Points([(0.0, 1.0), (2.0, 3.0)])]))
    assert (points["x_1"].size, points["x_2"].size) == (1, 2)
    save_data(mixed, tmp_path / "mixed.nc")
    assert set(read_field(tmp_path / "mixed.nc").data_vars) == set(mixed.data_vars)
