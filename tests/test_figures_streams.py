"""Pictures of lines: the strongest is marked where it is, a line is a chord, and the sky has no seam in its streams."""

from io import BytesIO

import holoviews as hv
import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table

from clearview.figures import frame_of, hough_image, line_path, save_figure, sky_map
from clearview.figures.style import layers
from clearview.streams import HoughConfig, Line, hough, on_line, strongest_line
from clearview.streams.known import known_streams


def pieces(element):
    """(N, 2) coordinates that are drawn, parted by NaN."""
    return np.frombuffer(frame_of(element)["layers"][0]["xy"]).reshape(-1, 2)


def stars(rng):
    angle = np.deg2rad(30)
    s, off = rng.uniform(-8, 8, 60), 2 + rng.normal(0, 0.1, 60)
    x, y = rng.uniform(-7, 7, (2, 200))
    return (np.r_[x, off * np.sin(angle) + s * np.cos(angle)], np.r_[y, -off * np.cos(angle) + s * np.sin(angle)])


def test_the_strongest_line_is_marked(rng):
    x, y = stars(rng)
    field, line = hough(x, y), strongest_line(x, y)
    element = hough_image(field)
    image, mark = layers(element)
    np.testing.assert_array_equal(image.dimension_values(2, flat=False), field["significance"].values.T)
    assert image.vdims[0].range[1] == line.sigma == -image.vdims[0].range[0]
    np.testing.assert_allclose(mark.array(), [[line.theta, line.r]])
    assert element.label == f"Strongest line: {line.sigma:.1f}σ at θ = {line.theta:.1f}°, r = {line.r:.1f}°"
    frame = frame_of(element)
    assert not frame["equal"]  # an angle and a distance
    assert frame["x"]["label"] == "angle of the line [°]"
    assert layers(hough_image(field, "counts"))[0].vdims[0].label == "stars per line"
    save_figure(element, BytesIO())
    nothing = field.assign(significance=np.nan * field["significance"])
    assert hough_image(nothing).label == "No line"
    assert hough_image(field.assign(significance=0 * field["significance"])).label == "No line"
    faint = layers(hough_image(field.assign(significance=field["significance"] / line.sigma)))[0]
    assert faint.vdims[0].range == (-4, 4)  # one sigma is not dark red
    with pytest.raises(ValueError, match="make it with hough"):
        hough_image(field[["counts"]])


def test_a_line_is_a_chord():
    xy = pieces(line_path(Line(30.0, 6.0, 0, 0, 0), 10.0))[:2]
    np.testing.assert_allclose(np.hypot(*xy.T), 10)
    np.testing.assert_allclose(xy @ [np.sin(np.pi / 6), -np.cos(np.pi / 6)], 6)
    np.testing.assert_allclose(np.diff(xy, axis=0), [16 * np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)])])
    both = pieces(line_path(Line(90.0, 0.0, 0, 0, 0), 10.0, width=1.0))
    assert sorted({round(v, 6) for v in both[~np.isnan(both[:, 0]), 0]}) == [-0.5, 0.5]
    assert np.isnan(both[2]).all()
    assert len(pieces(line_path(Line(90.0, 9.9, 0, 0, 0), 10.0, width=1.0))) == 3  # the other side is beyond the disc
    with pytest.raises(ValueError, match="r of the line"):
        line_path(Line(0.0, 11.0, 0, 0, 0), 10.0)


def test_the_strip_holds_the_stars_of_a_line(rng):
    """What is drawn and what is counted are the same, with windows that are plain strips."""
    config = HoughConfig(theta_bins=1)
    x, y = stars(rng)
    line = strongest_line(x, y, config)
    xy = pieces(line_path(line, 10.0, width=config.width))
    t = np.deg2rad(line.theta)
    across = xy @ [np.sin(t), -np.cos(t)]
    r = x * np.sin(t) - y * np.cos(t)
    held = (r >= np.nanmin(across)) & (r < np.nanmax(across)) & (np.hypot(x, y) <= 10)
    np.testing.assert_array_equal(held, on_line(x, y, line, config))


def test_places_on_the_sky_map():
    """l cos(b) and b; the centre of the Galaxy in the middle, and l = 179 and 181 deg at both sides with a gap."""
    table = pd.DataFrame({"stream": ["A"] * 4 + ["B"] * 2, "l": [178.0, 179.0, 181.0, 182.0, 0.0, 60.0],
                          "b": [0.0, 0.0, 0.0, 0.0, 0.0, 60.0]})  # fmt: skip
    element = sky_map(table)
    xy = pieces(element)
    gap = [np.nan, np.nan]
    np.testing.assert_allclose(xy[:8], [[178, 0], [179, 0], gap, [-179, 0], [-178, 0], gap, [0, 0], [30, 60]])
    sky = SkyCoord(table["l"], table["b"], unit="deg", frame="galactic").icrs
    same = sky_map(Table({"stream": table["stream"].to_list(), "ra": sky.ra.deg, "dec": sky.dec.deg}))
    np.testing.assert_allclose(pieces(same), xy, atol=1e-9)
    frame = frame_of(element)
    assert frame["equal"]
    assert frame["x"]["reverse"]
    assert (frame["x"]["label"], frame["y"]["label"]) == ("l cos b [deg]", "b [deg]")
    assert frame["title"] == "2 candidates; shaded: |b| < 20°"
    assert [k["text"] for k in frame["layers"] if k["kind"] == "text"] == ["A", "B"]
    band = next(k for k in frame["layers"] if k["kind"] == "band")
    high = np.frombuffer(band["xy"]).reshape(-1, 2)
    assert np.nanmax(high[:, 1]) == 20
    assert np.nanmax(np.abs(high[:, 0]) - 180 * np.cos(np.deg2rad(high[:, 1]))) < 1e-9  # within the sky
    assert not any(k["kind"] == "band" for k in frame_of(sky_map(table, plane=0))["layers"])


def test_known_streams_lie_below_candidates():
    known = known_streams(newest=True)
    mine = {"stream": ["mine"] * 3, "ra": [150.0, 151, 152], "dec": [30.0, 31, 32]}
    element = sky_map(mine, known, labels=["GD-1", "no such stream"])
    assert isinstance(element, hv.Overlay)
    frame = frame_of(element)
    assert [k["label"] for k in frame["layers"] if k["kind"] == "path"] == ["known streams", "candidates"]
    assert [k["text"] for k in frame["layers"] if k["kind"] == "text"] == ["GD-1"]
    assert frame["title"] == "147 known streams, 1 candidate; shaded: |b| < 20°"
    alone = frame_of(sky_map(known=known))
    assert sum(k["kind"] == "text" for k in alone["layers"]) == 30
    save_figure(element, BytesIO())


def test_bad_tables_are_refused():
    with pytest.raises(ValueError, match="got neither"):
        sky_map()
    with pytest.raises(KeyError):
        sky_map({"stream": ["a"], "ra": [1.0]})
    with pytest.raises(ValueError, match="as many names"):
        sky_map({"stream": ["a"], "l": [1.0, 2.0], "b": [1.0, 2.0]})
    with pytest.raises(ValueError, match="plane"):
        sky_map({"stream": ["a"], "l": [1.0], "b": [1.0]}, plane=-1)
