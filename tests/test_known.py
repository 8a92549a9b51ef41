"""Known streams: what ships is whole, GD-1 is GD-1, and what lies elsewhere is not."""

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord, SkyOffsetFrame

from clearview.catalogs import STREAMS, GreatCircle
from clearview.streams.known import known_streams, match_known, tracks_in

DATA = Path(__file__).parents[1] / "DATA.md"


def track(stream, reference):
    tracks = known_streams()
    return tracks.take((tracks["stream"] == stream) & (tracks["reference"] == reference))


def along(circle, phi1, phi2=0.0):
    """ra, dec [deg] of points of a stream's frame."""
    phi1, phi2 = np.deg2rad(phi1), np.deg2rad(phi2)
    x, y, z = circle.axes().T @ [np.cos(phi1) * np.cos(phi2), np.sin(phi1) * np.cos(phi2), np.sin(phi2) + 0 * phi1]
    return np.rad2deg(np.arctan2(y, x)) % 360, np.rad2deg(np.arcsin(z))


def test_tracks_are_whole_and_credited():
    tracks = known_streams()
    assert len(tracks) == 25_966
    assert len(set(tracks["stream"])) == 147
    assert len(set(zip(tracks["stream"], tracks["reference"], strict=True))) == 217
    assert [str(tracks.unit(k)) for k in ("ra", "pmra", "distance", "radial_velocity", "width")] == [
        "deg", "mas / yr", "kpc", "km / s", "deg"]  # fmt: skip
    assert "Copyright (c) 2017, Cecilia Mateu" in tracks.meta["licence"]
    told = DATA.read_text()
    assert "## galstreams\n" in told
    assert "Copyright (c) 2017, Cecilia Mateu" in told
    assert "2204.10326" in told
    assert Path(tracks.meta["file"]["name"]).name == "galstreams.parquet"
    assert tracks.meta["file"]["bytes"] < 1e6
    assert not (tracks["distance"] == 1).any()  # the stand-ins
    newest = known_streams(newest=True)
    assert len(set(zip(newest["stream"], newest["reference"], strict=True))) == len(set(newest["stream"])) == 147
    assert set(newest["reference"][newest["stream"] == "GD-1"]) == {"ibata2024"}
    # GD-1 along its published frame (Koposov et al. 2010).
    gd1 = track("GD-1", "pricewhelan2018").to_stream("GD-1")
    assert np.abs(gd1["phi2"]).max() < 5
    near = (gd1["phi1"] > -60) & (gd1["phi1"] < -10)
    assert np.abs(gd1["phi2"][near]).max() < 1


def test_gd1_is_gd1():
    gd1 = track("GD-1", "pricewhelan2018")
    found = match_known(gd1["ra"], gd1["dec"], gd1["pmra"], gd1["pmdec"])
    assert set(found["stream"]) == {"GD-1"}
    assert found.colnames == ["stream", "reference", "offset", "overlap", "pm_offset"]
    assert found["reference"][0] == "pricewhelan2018"
    assert found["offset"][0] == pytest.approx(0, abs=1e-6)
    assert found["overlap"][0] == pytest.approx(1)
    assert found["pm_offset"][0] == pytest.approx(0, abs=1e-4)
    assert (found["pm_offset"] < 1).all()
    assert found["offset"].unit == u.deg
    # Backwards it is the same, and shifted in proper motion it is as far off.
    back = match_known(gd1["ra"][::-1], gd1["dec"][::-1], gd1["pmra"][::-1] + 3, gd1["pmdec"][::-1] + 4)
    assert back["pm_offset"][0] == pytest.approx(5, abs=1e-4)
    assert np.isnan(match_known(gd1["ra"], gd1["dec"])["pm_offset"]).all()


def test_offset_is_across_and_overlap_along():
    """Along the equator of a straight track: half a degree beside it, and half of it beyond the end."""
    straight = track("Gaia-5", "malhan2018")  # a great circle through two ends
    here = SkyCoord(straight["ra"], straight["dec"], unit="deg")
    first, last = here[0], here[-1]
    frame = SkyOffsetFrame(origin=first, rotation=first.position_angle(last) - 90 * u.deg)
    length = here.transform_to(frame).lon.wrap_at("180d").deg
    np.testing.assert_allclose(here.transform_to(frame).lat.deg, 0, atol=0.01)

    def placed(lon, lat):
        sky = SkyCoord(lon * u.deg, lat * np.ones_like(lon) * u.deg, frame=frame).icrs
        return sky.ra.deg, sky.dec.deg

    def own(table):
        return next(row for row in table if row["stream"] == "Gaia-5")

    beside = own(match_known(*placed(np.linspace(1, length[-1] - 1, 200), 0.5)))
    assert beside["offset"] == pytest.approx(0.5, abs=0.01)
    assert beside["overlap"] == 1
    end = length[-1]
    beyond = own(match_known(*placed(np.linspace(end - 4, end + 4, 801), 0.5), least=0.3))
    assert beyond["overlap"] == pytest.approx(0.5, abs=0.01)
    assert beyond["offset"] == pytest.approx(0.5, abs=0.01)
    # Denser points weigh no more: the length counts.
    uneven = own(match_known(*placed(np.r_[np.linspace(end - 4, end, 50), np.linspace(end + 0.01, end + 4, 500)], 0.5),
                             least=0.3))  # fmt: skip
    assert uneven["overlap"] == pytest.approx(0.5, abs=0.02)
    assert not any(row["stream"] == "Gaia-5" for row in match_known(*placed(np.linspace(1, 5, 50), 1.5), least=0.0))
    assert any(row["stream"] == "Gaia-5" for row in match_known(*placed(np.linspace(1, 5, 50), 1.5), within=2.0))


def test_other_lines_are_not_known():
    # Ten degrees beside GD-1, along it; and across it.
    assert "GD-1" not in match_known(*along(STREAMS["GD-1"], np.linspace(-50, -30, 40), 10.0))["stream"]
    middle = along(STREAMS["GD-1"], -40.0)
    pole = along(STREAMS["GD-1"], 50.0)
    across = along(GreatCircle(pole, origin=middle), np.linspace(-8, 8, 40))
    assert "GD-1" not in match_known(*across)["stream"]
    crossing = match_known(*across, least=0.05)
    overlap = crossing["overlap"][crossing["stream"] == "GD-1"]
    assert len(overlap) == 3
    assert overlap == pytest.approx(2 / 16, abs=0.04)
    rng = np.random.default_rng(1)
    matched = 0
    for _ in range(40):
        v = rng.normal(size=3)
        lon, lat = np.rad2deg(np.arctan2(v[1], v[0])), np.rad2deg(np.arcsin(v[2] / np.linalg.norm(v)))
        circle = GreatCircle((lon, lat), zero_ra=rng.uniform(0, 360))
        matched += len(match_known(*along(circle, np.linspace(0, 16, 30)))) > 0
    assert matched < 8  # chance alone: one in twenty
    empty = match_known(0.0, -90.0, least=1.0, within=1e-6)
    assert (len(empty), empty["pm_offset"].unit) == (0, u.mas / u.yr)


def test_tracks_in_a_patch():
    center = (148.6, 24.2)  # the patch in which Via Machinae found GD-1
    patch = tracks_in(center, 10.0)
    assert "GD-1" in patch["stream"]
    assert "Jhelum" not in patch["stream"]
    rows = patch[(patch["stream"] == "GD-1") & np.isfinite(patch["x"])]
    assert set(rows["reference"]) == {"ibata2024"}
    sky = SkyCoord(rows["ra"], rows["dec"])
    assert sky.separation(SkyCoord(*center, unit="deg")).deg.max() <= 10
    seen = sky.transform_to(SkyOffsetFrame(origin=SkyCoord(*center, unit="deg")))
    np.testing.assert_allclose(rows["y"], seen.lat.deg, atol=1e-9)
    np.testing.assert_allclose(rows["x"], seen.lon.wrap_at("180d").deg * np.cos(seen.lat.rad), atol=1e-9)
    own = known_streams(newest=True).to_patch(center)
    own = own.take(np.asarray(own["stream"]) == "GD-1")
    order = [int(np.argmin(np.abs(own["ra"] - ra) + np.abs(own["dec"] - dec))) for ra, dec in zip(
        rows["ra"], rows["dec"], strict=True)]  # fmt: skip
    for name in ("pm_lon", "pm_lat"):
        np.testing.assert_allclose(rows[name], np.asarray(own[name])[order], atol=1e-6)
    everything = tracks_in(center, 10.0, newest=False)
    assert len(set(everything["reference"][everything["stream"] == "GD-1"])) == 3
    ends = everything[np.isnan(everything["x"])]
    assert len(ends) >= len(set(zip(everything["stream"], everything["reference"], strict=True)))
    assert len(tracks_in((0.0, -60.0), 1e-3)) == 0


def test_bad_candidates_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        match_known([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="finite ra"):
        match_known([1.0], [91.0])
    with pytest.raises(ValueError, match="both pmra and pmdec"):
        match_known([1.0], [1.0], [1.0])
    with pytest.raises(ValueError, match="as many points"):
        match_known([1.0, 2.0], [1.0, 2.0], [1.0] * 3, [1.0] * 3)
    with pytest.raises(ValueError, match="within"):
        match_known([1.0], [1.0], within=0)
    with pytest.raises(ValueError, match="center"):
        tracks_in((0.0, 95.0), 10)
    with pytest.raises(ValueError, match="radius"):
        tracks_in((0.0, 0.0), -1)
