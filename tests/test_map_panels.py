"""Panels of a map: the crosshair, density, profiles, streams; with the map that comes along, without a browser."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from fakes import sky_stars

from clearview.dynamics import MapConfig, circular_velocity, density_field, formal_members, mass_density, slice_points
from clearview.figures.style import layers
from clearview.mocks import truth_of
from clearview.panels import AccelerationPanel, DensityPanel, DustPanel, ExcessPanel, ProfilePanel
from clearview.panels.excess import excess
from clearview.panels.profiles import KINDS
from clearview.samples import load_first_map


@pytest.fixture(scope="module")
def first():
    return load_first_map()


@pytest.fixture(scope="module")
def density(first):
    panel = DensityPanel(*first, size=64, threaded=False)
    yield panel
    panel.close()


# ---- the crosshair


def test_a_click_sets_the_place_and_all_slices_go_through_it(first, made):
    panel = made(AccelerationPanel(*first, size=64, threaded=False))
    panel.set(z=0.5)
    panel.view.cursor = [7.0, 1.0]
    assert panel.place == pytest.approx((7.0, 1.0, 0.5))
    assert panel.controls["y"].value == pytest.approx(1.0)
    assert panel.controls["phi"].value == pytest.approx(np.degrees(np.arctan2(1, 7)))
    panel.set(plane="R-z")
    assert panel.view.cursor == pytest.approx([np.hypot(7, 1), 0.5])
    panel.set(phi=-10.0)
    assert np.degrees(np.arctan2(panel.place[1], panel.place[0])) == pytest.approx(-10)
    assert panel.place[2] == 0.5
    panel.set(plane="sky")
    l, b = panel.view.cursor
    axes, fixed = panel.axes(panel.settings, 1.0)
    again = slice_points([a._replace(low=c - 1, high=c + 1, size=1) for a, c in zip(axes, (l, b), strict=True)], fixed)
    np.testing.assert_allclose(again[0, 0], panel.place, atol=2e-3)
    panel.place = (9.0, 0.0, -1.0)
    panel.set(plane="x-z")
    assert panel.view.cursor == pytest.approx([9.0, -1.0])
    assert panel.controls["z"].value == pytest.approx(-1.0)
    panel.view.cursor = []
    assert panel.place is None


def test_without_a_place_sliders_are_their_own(first, made):
    panel = made(AccelerationPanel(*first, size=64, threaded=False))
    panel.set(plane="sky")
    assert (panel.settings["distance"], panel.place, panel.view.cursor) == (1.0, None, [])


@pytest.mark.parametrize("show", ["map", "truth", "difference", "error"])
def test_the_sky_and_the_errors_are_drawn(first, made, show):
    panel = made(AccelerationPanel(*first, size=64, threaded=False))
    panel.set(plane="sky", show=show, component="a_z")
    assert panel.status == ""
    frame = panel.view.frame
    assert (frame["x"]["name"], frame["x"]["reverse"], frame["y"]["unit"]) == ("l", True, "deg")
    assert (np.frombuffer(panel.view.frame["codes"], "<u2") > 0).all()
    if show == "error":
        panel.set(component="potential")
        assert panel.view.message.startswith("There is no error of this kind; choose |a|")


def test_scales_of_colour(first, made):
    panel = made(AccelerationPanel(*first, size=64, threaded=False))
    panel.set(component="a_z", plane="x-z")
    assert panel.view.frame["low"] == -panel.view.frame["high"]
    panel.set(scale="linear")
    assert panel.view.frame["low"] != -panel.view.frame["high"]
    panel.set(scale="logarithmic")
    assert panel.view.frame["log"]
    assert panel.view.frame["z"]["name"] == "|a_z|"
    assert panel.view.frame["low"] > 0


# ---- density


def test_the_density_of_the_panel_is_that_of_the_function(density):
    density.set(show="map", component="density", plane="R-z", unit="M☉/pc³")
    field = density.data()
    some = field.isel(R=slice(60, 200, 40), z=slice(60, 200, 20))
    R, z = np.meshgrid(some.R, some.z, indexing="ij")
    exact = mass_density(density.fit, np.stack([R, 0 * R, z], -1).reshape(-1, 3)).reshape(R.shape) * 1e-9
    np.testing.assert_allclose(some.density.values, exact, rtol=0.03)
    density.set(unit="GeV/cm³", component="dark_matter")
    assert density.view.frame["z"]["unit"] == "GeV cm⁻³"
    shown = next(iter(density.figure())).dimension_values(2, flat=False)
    np.testing.assert_allclose(shown, 37.97 * field.dark_matter.values.T, rtol=1e-4)


def test_density_has_errors_truth_and_difference(density):
    density.set(component="density", plane="x-z", unit="M☉/pc³")
    fields = {}
    for show in ("map", "truth", "difference", "error"):
        density.set(show=show)
        assert density.status == ""
        fields[show] = density.data().density
    np.testing.assert_allclose(fields["difference"], fields["map"] - fields["truth"], atol=1e-6)
    error, truth = fields["error"], fields["truth"]
    assert 0 < float(error.min()) < 0.5 * float(truth.max())
    density.set(component="baryons")
    assert "choose total density, dark matter" in density.view.message
    density.set(show="map", component="density")


def test_the_dark_matter_near_the_sun_is_told_when_asked(density):
    density.set(show="map", local=True)
    assert "Dark matter at 1 &lt; |z| &lt; 1.8 kpc" in density.below[0].value
    density.set(local=False)
    assert density.below[0].layout.display == "none"


def test_the_whole_ball_is_computed_once(density, monkeypatch):
    density.set(show="map", component="density")

    def never(source):
        raise AssertionError

    for kept, *_ in density._cubes:
        assert kept is density.fit or kept is density.truth()
    from clearview.dynamics import cube

    monkeypatch.setattr(cube, "density_cube", never)
    density.set(z=0.4)
    assert density.status == ""


# ---- profiles


@pytest.mark.parametrize("kind", KINDS)
def test_every_profile_lies_near_the_truth_with_a_band(first, made, kind):
    panel = made(ProfilePanel(*first, size=64, threaded=False))
    panel.set(profile=kind)
    assert panel.status == ""
    parts = {type(k).__name__ + k.label: k for k in layers(panel.figure())}
    assert {"Curvemap", "Curvetruth"} <= set(parts)
    band = next(k for name, k in parts.items() if not name.startswith("Curve"))
    assert len(band) > 10
    x, y = (parts["Curvemap"].dimension_values(i) for i in (0, 1))
    true = np.interp(x, *(parts["Curvetruth"].dimension_values(i) for i in (0, 1)))
    inner = np.isfinite(y)
    inner[:5] = inner[-5:] = False
    assert np.nanmedian(np.abs(y - true)[inner]) < 0.15 * np.nanmax(np.abs(true))


def test_the_curve_is_the_function(first, made):
    panel = made(ProfilePanel(*first, size=64, threaded=False))
    panel.set(z=0.3, phi=5.0)
    curve = next(k for k in layers(panel.figure()) if k.label == "map")
    R = curve.dimension_values(0)
    np.testing.assert_allclose(curve.dimension_values(1), circular_velocity(panel.fit, R, z=0.3, phi=5.0), rtol=1e-6)
    table = panel.data()
    assert {"R [kpc]", "v_c [km s⁻¹]", "layer"} <= set(table.columns)


def test_published_points_lie_beside_the_curve(first, made):
    table = pd.DataFrame({"R": [6.0, 8.0, 30.0], "vc": [225.0, 220.0, 190.0], "vc_minus": 5.0, "vc_plus": [3.0, 4, 5]})
    panel = made(ProfilePanel(*first, references={"circular velocity": table}, size=64, threaded=False))
    (seen,) = [k for k in layers(panel.figure()) if k.label == "published"]
    x, y = (seen.dimension_values(i) for i in (0, 1))
    np.testing.assert_array_equal(y[x == 6.0], [220.0, 228.0])
    np.testing.assert_array_equal(y[x == 8.0], [215.0, 224.0])
    assert np.nanmax(x) < 9
    panel.set(published=False)
    assert all(k.label != "published" for k in layers(panel.figure()))


# ---- streams


def test_an_excess_of_stars_stands_out_in_sigma_and_noise_does_not(rng):
    x = np.linspace(-5, 5, 100)
    coords = {"phi1": x, "phi2": x[:40]}
    noise = xr.DataArray(rng.poisson(5.0, (100, 40)), coords, ("phi1", "phi2"))
    found = excess(noise, 0.3).values
    assert np.nanstd(found) == pytest.approx(1.0, abs=0.2)
    lump = noise.copy(data=noise.values.copy())
    lump[48:53, 18:23] += 12
    found = excess(lump, 0.3).values
    i, j = np.unravel_index(np.nanargmax(found), found.shape)
    assert (abs(i - 50), abs(j - 20)) <= (2, 2)
    assert found[i, j] > 6


def test_the_stream_shows_in_its_window(made):
    panel = made(ExcessPanel(sky_stars(), stream=None, first=("pm_phi1", -8.0, 1.0), second=("pm_phi2", -0.5, 1.0),
                              size=300, threaded=False))  # fmt: skip
    assert (panel.settings["x_axis"], panel.settings["y_axis"]) == ("phi1", "phi2")
    panel.set(excess=True, width=0.15)
    assert panel.status == ""
    assert panel.view.frame["title"].startswith("Excess of ")
    field = panel.data().excess
    rows = np.abs(field.phi2.values)
    assert float(field.values[:, rows < 0.1].mean()) > float(field.values[:, rows > 0.5].mean()) + 1


def test_truth_is_drawn_without_a_map(first, made):
    stars, _ = first
    panel = made(DensityPanel(stars, size=64, threaded=False))
    panel.set(plane="x-z")
    assert panel.settings["show"] == "truth"
    axes, fixed = panel.axes(panel.settings, 24 / 256)
    exact = density_field(truth_of(stars), axes, fixed).density
    shown = panel.slice(panel.truth(), axes, fixed, panel.settings).density
    both = np.isfinite(shown.values)
    np.testing.assert_allclose(shown.values[both], exact.values[both], rtol=0.03)


def test_two_fits_of_a_session_are_compared(first, made):
    stars, fit = first
    panel = made(AccelerationPanel(stars.take(np.arange(len(stars)) < 5000), fit, size=64, threaded=False))
    assert list(panel.others()) == ["truth"]
    assert panel.controls["against"].layout.display == "none"
    other = dataclasses.replace(fit, series=formal_members(fit, 1)[0].series)
    panel.fit = other
    name = next(n for n in panel.others() if n != "truth")
    assert panel.runs[name] is fit
    panel.set(show="difference", against=name, component="a_z", plane="x-z")
    assert panel.controls["against"].layout.display == ""
    assert panel.view.frame["z"]["name"].endswith(f"map − {name}")
    at = panel.data().a_z.sel(x=8.0, z=1.0, method="nearest")
    x = np.array([[float(at.x), 0.0, float(at.z)]])
    assert float(at) == pytest.approx(float((other.acceleration(x) - fit.acceleration(x))[0, 2]), rel=1e-2, abs=0.5)


def test_pulsars_lie_where_they_are_in_every_plane(first, made):
    l, b, parallax = np.array([0.0, 90.0, 179.0]), np.array([0.0, 0.0, 60.0]), np.array([1.0, 0.5, 1.0])
    table = pd.DataFrame({"name": list("abc"), "l": l, "b": b, "parallax": parallax, "parallax_error": 0.01,
                          "alos_orbital_mm_s_yr": 1.0, "alos_orbital_err_mm_s_yr": 0.1})  # fmt: skip
    panel = made(AccelerationPanel(*first, pulsars=table, size=64, threaded=False))

    def seen():
        (found,) = [k for k in layers(panel.figure()) if k.label == "pulsars"]
        return sorted(zip(*(found.dimension_values(i).round(2) for i in (0, 1)), strict=True))

    assert seen() == [(7.12, 0.0), (8.12, -2.0)]  # the third is 0.9 kpc above
    panel.set(plane="x-z")
    assert seen() == [(7.12, 0.02), (8.62, 0.89)]
    panel.set(plane="sky")
    np.testing.assert_allclose(seen(), [(0.0, 0.0), (90.0, 0.0), (179.0, 60.0)], atol=0.02)
    panel.set(pulsars=False)
    assert all(k.label != "pulsars" for k in layers(panel.figure()))


def test_every_map_has_a_cube_and_slices_of_its_own_ball(first, made):
    stars, fit = first
    small = dataclasses.replace(fit, radius=2.5)
    panel = made(DensityPanel(stars, small, size=64, threaded=False))

    def seen(show: str):
        panel.set(show=show, plane="x-z")
        return np.isfinite(panel.data().density.values).mean()

    alone = seen("map"), seen("truth")
    panel.fit = fit
    name = next(n for n in panel.others() if n != "truth")
    whole = seen("map"), seen("truth")
    panel.set(against=name)
    assert 0 < seen("difference") < whole[0]
    panel.fit = small
    assert (seen("map"), seen("truth")) == pytest.approx(alone, abs=0.01)


def test_a_zoomed_slice_is_of_the_ball_of_the_moment(first, made):
    stars, _ = first
    panel = made(AccelerationPanel(stars, config=MapConfig(radius=2.0), size=64, threaded=False))
    panel.view.range = [9.0, 12.0, -1.0, 1.0]
    before = np.isfinite(panel.data().a.values).mean()
    panel.config = MapConfig(radius=4.0)
    panel.view.range = [9.0, 12.0, -1.0, 1.0]
    assert np.isfinite(panel.data().a.values).mean() > before + 0.3


def test_a_picture_that_fails_leaves_none_behind(first, made, monkeypatch):
    panel = made(AccelerationPanel(*first, size=64, threaded=False))

    def broken(*args):
        raise ValueError("Expected a force, got none; look again.")

    monkeypatch.setattr(panel, "field", broken)
    panel.set(z=1.0)
    assert (panel.view.frame, panel.view.message) == ({}, "Expected a force, got none; look again.")


@pytest.mark.parametrize("kind", [AccelerationPanel, DensityPanel, ProfilePanel, DustPanel])
def test_stars_without_a_place_are_no_map_and_no_error(made, kind):
    panel = made(kind(sky_stars(100), size=64, threaded=False))
    assert panel.view.message.startswith("No map yet")


def test_the_edge_of_a_survey_is_no_excess(rng):
    x = np.linspace(-5, 5, 100)
    noise = xr.DataArray(rng.poisson(5.0, (100, 100)), {"phi1": x, "phi2": x}, ("phi1", "phi2"))
    inside = (np.abs(noise.phi2) < 1.0) & (noise.phi1 < 100)
    found = excess(noise.where(inside, 0), 0.3, inside).values
    assert np.isnan(found[:, np.abs(x) > 1.0]).all()
    edge, middle = found[:, np.abs(np.abs(x) - 0.9) < 0.1], found[:, np.abs(x) < 0.3]
    assert np.abs(found[np.isfinite(found)]).max() < 6
    assert np.nanstd(edge) == pytest.approx(np.nanstd(middle), rel=0.4)
