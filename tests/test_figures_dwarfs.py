"""Pictures of dwarfs: logarithmic axes, bands, counts that a density is scaled to, coloured stars, and legends."""

from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr

from clearview.dwarfs import Published, mass_estimates
from clearview.figures import (
    bars,
    data_of,
    dwarf_profile,
    frame_of,
    points,
    profile,
    quantile_profile,
    save_figure,
    star_map,
)
from clearview.figures.save import draw
from clearview.figures.style import layers
from clearview.mocks import DwarfTruth

R = np.geomspace(0.02, 3.0, 40)
Q = np.array([0.025, 0.16, 0.5, 0.84, 0.975])


def on(axis, values, name, quantile=None):
    dims = [axis] if quantile is None else ["quantile", axis]
    coords = {axis: R} if quantile is None else {axis: R, "quantile": quantile}
    return xr.DataArray(values, coords, dims, name)


def banded(name, axis, middle):
    return xr.Dataset({name: on(axis, middle * np.array([0.5, 0.8, 1.0, 1.3, 2.0])[:, None], name, Q)})


def counted(truth, n: float, edges) -> xr.Dataset:
    """Bins that hold exactly what the truth has in them."""
    fine = [np.linspace(a, b, 400) for a, b in pairwise(edges)]
    inside = np.array([np.trapezoid(2 * np.pi * f * truth.surface_density(np.maximum(f, 1e-4)), f) for f in fine])
    area = np.pi * np.diff(np.square(edges))
    columns = {
        "R": [np.sqrt(a * b) if a else b / 2 for a, b in pairwise(edges)], "R_low": edges[:-1],
        "R_high": edges[1:], "Sigma": n * inside / area, "Sigma_error": np.sqrt(n * inside) / area,
        "sigma_los": np.full(len(area), 10.0), "sigma_los_low": np.full(len(area), 9.0),
        "sigma_los_high": np.full(len(area), 12.0),
    }  # fmt: skip
    return xr.Dataset({k: ("bin", np.asarray(v, float)) for k, v in columns.items()})


def layer(element, label, kind="curve"):
    """(N, 2) coordinates that are drawn of a layer."""
    frame = frame_of(element)
    found = next(k for k in frame["layers"] if k["label"] == label and k["kind"] == kind)
    return np.frombuffer(found["xy"]).reshape(-1, 2)


def test_the_density_has_two_logarithmic_axes_with_units_and_bands():
    middle = 1e8 / (1 + R) ** 3
    made = dwarf_profile("rho", banded("rho", "r", middle), truth=on("r", 1.1 * middle, "rho"), label="Dark matter")
    frame = frame_of(made)
    assert (frame["x"]["log"], frame["y"]["log"], frame["equal"]) == (True, True, False)
    assert (frame["x"]["label"], frame["y"]["label"]) == ("r [kpc]", "density ρ [M⊙ kpc⁻³]")
    assert frame["range"][:2] == pytest.approx([R[0], R[-1]])
    assert frame["title"] == "Dark matter"
    bands = [np.frombuffer(k["xy"]).reshape(-1, 2)[:-1] for k in frame["layers"] if k["kind"] == "band"]
    for band, (low, high) in zip(bands, ((0.5, 2.0), (0.8, 1.3)), strict=True):
        np.testing.assert_allclose(band[:40], np.stack([R, low * middle], 1))
        np.testing.assert_allclose(band[40:], np.stack([R, high * middle], 1)[::-1])
    np.testing.assert_allclose(layer(made, "fit"), np.stack([R, middle], 1))
    named = {k["label"]: k for k in frame["layers"] if k["label"]}
    assert list(named) == ["fit", "truth"]  # the bands have no line of their own
    assert bool(named["truth"]["dash"]) > bool(named["fit"]["dash"])
    plot = draw(frame).axes[0]
    assert (plot.get_xscale(), plot.get_yscale()) == ("log", "log")
    assert {"layer", "r [kpc]", "density ρ [M⊙ kpc⁻³]"} <= set(data_of(made).columns)


def test_a_surface_density_of_one_star_is_drawn_as_the_stars_counted():
    truth = DwarfTruth()
    edges = np.r_[0.0, np.geomspace(0.05, 2.5, 15)]
    bins = counted(truth, 750.0, edges)
    fit = banded("Sigma", "R", truth.surface_density(R))
    made = dwarf_profile("Sigma", fit, bins=bins, truth=on("R", truth.surface_density(R), "Sigma"))
    for label in ("fit", "truth"):
        np.testing.assert_allclose(layer(made, label)[:, 1], 750 * truth.surface_density(R), rtol=0.01)
    # Beyond what is drawn nothing is counted.
    near = dwarf_profile("Sigma", fit, bins=bins, range=(0.03, 0.7))
    xy = layer(near, "fit")
    np.testing.assert_allclose(xy[:, 1], 750 * truth.surface_density(xy[:, 0]), rtol=0.02)
    assert frame_of(near)["range"][:2] == [0.03, 0.7]
    strokes = layer(made, "stars, binned", "path")[:-1].reshape(15, 6, 2)
    np.testing.assert_allclose(strokes[1:, [0, 1], 0], np.stack([edges[1:-1], edges[2:]], 1))
    assert strokes[0, 0, 0] > 0
    assert np.isnan(strokes[:, 5]).all()
    error = bins["Sigma_error"].values
    np.testing.assert_allclose(strokes[:, [3, 4], 1], bins["Sigma"].values[:, None] + error[:, None] * [-1, 1])


def test_a_dispersion_begins_at_zero_with_room_above():
    bins = counted(DwarfTruth(), 100.0, np.geomspace(0.05, 2.0, 6))
    frame = frame_of(dwarf_profile("sigma_los", bins=bins))
    assert not frame["y"]["log"]
    assert frame["range"][2:] == pytest.approx([0.0, 1.3 * 12])
    assert frame["y"]["label"] == "velocity dispersion [km/s]"


def test_published_values_are_crosses_with_their_errors():
    one = Published("Someone 2020", 0.3, M=2e7, M_low=1.5e7, M_high=2.8e7)
    (estimate, _) = mass_estimates(0.25, 9.0, 0.9)
    made = dwarf_profile("M", published=[one, estimate])
    xy = layer(made, "Someone 2020", "path")
    assert xy[[3, 4], 1].tolist() == [1.5e7, 2.8e7]
    assert xy[[0, 1], 1].tolist() == [2e7, 2e7]
    assert layer(made, "Wolf et al. 2010", "path")[[3, 4], 1] == pytest.approx(estimate.mass * np.array([0.8, 1.2]))
    assert frame_of(made)["y"]["label"] == "mass within r [M⊙]"
    with pytest.raises(ValueError, match="something to draw of rho"):
        dwarf_profile("rho", published=[one])


def test_a_published_profile_is_a_line_with_its_band():
    rho = 1e8 / (1 + R) ** 2
    made = dwarf_profile("rho", truth=on("r", rho, "rho"), published=[Published("Someone", R, rho, rho / 2, 3 * rho)])
    np.testing.assert_allclose(layer(made, "Someone"), np.stack([R, rho], 1))
    (band,) = (np.frombuffer(k["xy"]).reshape(-1, 2)[:-1] for k in frame_of(made)["layers"] if k["kind"] == "band")
    np.testing.assert_allclose(band[:40, 1], rho / 2)
    np.testing.assert_allclose(band[40:, 1], (3 * rho)[::-1])
    bare = dwarf_profile("rho", published=[Published("Someone", R, rho)], range=(0.1, 1.0))
    xy = layer(bare, "Someone")
    assert (xy[:, 0].min() >= 0.0999, xy[:, 0].max() <= 1.001) == (True, True)


def test_lines_keep_their_colours_and_a_long_legend_has_room():
    mass, others = 1e7 * R**2, [Published(f"paper {i}", 0.1 * i, M=1e6 * i) for i in (1, 2, 3)]
    references = {"cusp": on("r", 1.1 * mass, "M"), "core": on("r", 0.9 * mass, "M")}

    def inks(element):
        return {k["label"]: k["ink"] for k in frame_of(element)["layers"] if k["label"]}

    few = dwarf_profile("M", truth=on("r", mass, "M"), published=others)
    all_ = dwarf_profile("M", banded("M", "r", mass), truth=on("r", mass, "M"), published=others, references=references)
    assert inks(few).items() < inks(all_).items()
    assert len(set(inks(all_).values())) >= 6
    low = [frame_of(k)["range"][2] for k in (few, all_)]
    assert low[1] < 0.1 * low[0]


def test_what_is_no_profile_is_refused():
    curve = on("r", R, "rho")
    with pytest.raises(ValueError, match="Expected a profile among Sigma, n, sigma_los"):
        dwarf_profile("density", truth=curve)
    with pytest.raises(ValueError, match="Expected something to draw of rho, got nothing"):
        dwarf_profile("rho")
    with pytest.raises(ValueError, match="Expected Sigma along R, got it along r"):
        dwarf_profile("Sigma", truth=curve)
    with pytest.raises(ValueError, match=r"rising quantiles with 0\.5 in their middle, got 0\.16, 0\.5, 0\.9"):
        quantile_profile(on("r", np.ones((3, 40)), "rho", [0.16, 0.5, 0.9]))
    with pytest.raises(ValueError, match="Expected a field on quantile and one axis, got r"):
        quantile_profile(curve)
    with pytest.raises(ValueError, match="Expected a scale among linear, log for a curve, got 'diverging'"):
        profile(curve, along="diverging")


def test_stars_have_the_colour_of_their_value():
    x, y = (xr.DataArray(v, dims="star", name=n, attrs={"units": "kpc", "limits": (-2.0, 2.0)})
            for n, v in (("x", np.array([0.0, 1.0, -1.0, 0.5])), ("y", np.zeros(4))))  # fmt: skip
    v = xr.DataArray([30.0, -30.0, 0.0, np.nan], dims="star", name="v", attrs={"units": "km/s", "long_name": "speed"})
    made = star_map(x, y, v, limits=(-20, 20), label="4 stars")
    frame = frame_of(made)
    assert (frame["equal"], frame["range"], frame["title"]) == (True, [-2, 2, -2, 2], "4 stars")
    assert (frame["z"]["label"], frame["low"], frame["high"]) == ("speed [km/s]", -20, 20)
    found = frame["layers"][0]
    rgb = np.frombuffer(found["rgb"], np.uint8).reshape(-1, 3).astype(int)
    at = {tuple(xy): c for xy, c in zip(np.frombuffer(found["xy"]).reshape(-1, 2), rgb, strict=True)}
    assert at[0.0, 0.0][0] > at[0.0, 0.0][2] + 50  # red recedes
    assert at[1.0, 0.0][2] > at[1.0, 0.0][0] + 50
    assert min(at[-1.0, 0.0]) > 200
    assert set(at[0.5, 0.0]) == {128}  # not known
    buffer = BytesIO()
    save_figure(made, buffer)
    bar = draw(frame).axes[1]
    assert bar.get_ylabel() == "speed [km/s]"
    assert "rgb" not in frame_of(points([0, 1], [0, 1]))["layers"][0]


@pytest.mark.parametrize(
    ("slope", "corner"),
    [(-3, "upper right"), (3, "upper left"), (0, "upper right")],
)
def test_a_legend_covers_no_curve(slope, corner):
    field = on("r", R ** float(slope) if slope else np.r_[np.ones(39), 5.0], "rho")
    names = {f"curve {i}": field for i in range(4)} if slope == 0 else {"one": field}
    frame = frame_of(dwarf_profile("rho", references=names))
    assert frame["legend"] == (corner if slope else "upper left")
    assert draw(frame).axes[0].get_legend()._loc == {"upper right": 1, "upper left": 2}[frame["legend"]]


def test_crosses_need_no_ends():
    xy = np.frombuffer(frame_of(bars([1.0], [2.0], y_ends=([1.5], [3.0])))["layers"][0]["xy"]).reshape(-1, 2)
    np.testing.assert_array_equal(xy[:2], [[1, 1.5], [1, 3]])
    assert [len(layers(dwarf_profile("M", truth=on("r", R, "M"))))] == [1]
