"""The panel of the search for streams, without a browser: windows, lines, scores, scans and candidates."""

import dataclasses
import re

import numpy as np
import pytest
from fakes import sky_stars

import clearview
from clearview import mocks
from clearview.catalogs import Catalog
from clearview.figures import track_path, window_path
from clearview.figures.frame import frame_of
from clearview.figures.style import layers
from clearview.flows import FitConfig
from clearview.panels import StreamPanel
from clearview.panels.stream import NEEDED
from clearview.streams import Anode, Cwola, Fiducial, Footprint, Null, Patch, ScanConfig, scan_patch
from clearview.streams.lines import on_line, strongest_line

WAIT = 120
STREAM = mocks.Stream(members=300, angle=30.0, offset=2.0, pm=(-5.0, -3.0))
QUICK = Cwola(training=FitConfig(epochs=2, min_steps=0))
COUNTS = ScanConfig(method=None, most=5)
ALL = 2 * COUNTS.reach
SCORED = ScanConfig(method=QUICK, step=6.0, most=5)


@pytest.fixture(scope="module")
def stars():
    patch = mocks.inject(mocks.mock_patch(12_000, 1, cluster=None, dwarf=None), STREAM)
    return Patch(148.6, 24.2).of(patch)


@pytest.fixture(scope="module")
def scan(stars):
    return scan_patch(stars, COUNTS)


@pytest.fixture
def panel(stars, scan, made):
    return made(StreamPanel(stars, COUNTS, scan, size=64, threaded=False))


def labels(view) -> list[str]:
    return [layer["label"] for layer in view.frame["layers"] if layer["label"]]


def xy_of(view, label: str) -> np.ndarray:
    found = next(layer for layer in view.frame["layers"] if layer["label"] == label)
    xy = np.frombuffer(found["xy"]).reshape(-1, 2)
    return xy[np.isfinite(xy).all(1)]


def counted(view) -> int:
    """The stars in the title of the sky."""
    return int(re.match(r"([\d,]+)", view.frame["title"])[1].replace(",", ""))


# ---- windows


def test_the_windows_choose_the_stars(panel, stars):
    panel.set(scanned="pm_lat", center=-3.0, width=2.0, other=-5.0, other_width=4.0, stars="all")
    inside = (abs(stars["pm_lat"] + 3) <= 1) & (abs(stars["pm_lon"] + 5) <= 2)
    assert counted(panel.view) == inside.sum()
    panel.set(other_width=ALL)
    assert counted(panel.view) == (abs(stars["pm_lat"] + 3) <= 1).sum()
    panel.set(stars="fiducial")
    fiducial = COUNTS.fiducial.select(stars)
    assert counted(panel.view) == ((abs(stars["pm_lat"] + 3) <= 1) & fiducial).sum()


def test_the_windows_stand_over_the_plane_of_motions(panel):
    panel.set(scanned="pm_lon", center=-5.0, width=4.0, other=-3.0, other_width=2.0)
    assert labels(panel.views[2]) == ["signal region", "window"]
    region, window = (xy_of(panel.views[2], name) for name in ("signal region", "window"))
    assert set(region[:, 0]) == {-7.0, -3.0}
    assert (window.min(0).tolist(), window.max(0).tolist()) == ([-7, -4], [-3, -2])
    panel.set(scanned="pm_lat", other_width=ALL)
    region = xy_of(panel.views[2], "signal region")
    assert set(region[:, 1]) == {-7.0, -3.0}
    assert panel.controls["center"].description == "pm_lat [mas/yr]"


def test_the_strongest_line_is_that_of_the_stars_of_the_window(panel, stars):
    panel.set(center=-5.0, width=2.0, other=-3.0, other_width=2.0)
    sky, lines = panel.views[:2]
    theta, r = (float(v) for v in re.findall(r"= (−?[\d.]+)", lines.frame["title"].replace("−", "-")))
    assert (theta, r) == pytest.approx((STREAM.angle, STREAM.offset), abs=1.8)
    fiducial = COUNTS.fiducial.select(stars)
    keep = (abs(stars["pm_lon"] + 5) <= 1) & (abs(stars["pm_lat"] + 3) <= 1) & fiducial
    x, y = stars["lon"] * np.cos(np.deg2rad(stars["lat"])), stars["lat"]
    line = strongest_line(x[keep], y[keep], reference=np.stack([x[fiducial], y[fiducial]], 1))
    assert f"{line.sigma:.1f}σ" in lines.frame["title"]
    edge = xy_of(sky, "strongest line")
    across = edge[:, 0] * np.sin(np.deg2rad(line.theta)) - edge[:, 1] * np.cos(np.deg2rad(line.theta)) - line.r
    np.testing.assert_allclose(np.abs(across), 0.5, atol=0.2)
    assert on_line(x[keep], y[keep], line).sum() == line.count
    panel.set(center=8.0, width=1.0)
    assert "No line" in lines.frame["title"] or float(re.search(r"([\d.]+)σ", lines.frame["title"])[1]) < line.sigma


def test_the_colours_of_the_window_stand_behind_the_cuts(panel):
    cut = xy_of(panel.views[3], "fiducial")
    assert set(cut[:, 0]) == {0.5, 1.0}
    assert cut[:, 1].max() == pytest.approx(20.2)
    assert panel.views[3].frame["y"]["reverse"]


def test_without_photometry_there_are_three_views_and_no_such_cuts(stars, made):
    bare = stars.to_pandas()[["ra", "dec", "pmra", "pmdec"]]
    units = {"ra": "deg", "dec": "deg", "pmra": "mas/yr", "pmdec": "mas/yr"}
    bare = Patch(148.6, 24.2).of(Catalog.from_pandas(bare, units=units))
    panel = made(StreamPanel(bare, size=64, threaded=False))
    assert panel.status == ""
    assert panel.config.fiducial.missing == "skip"
    assert "no photometry" in panel._cuts.value
    assert panel.views[3].layout.display == "none"
    assert len(panel.figure()) == 3
    refused = made(StreamPanel(bare, ScanConfig(method=None), size=64, threaded=False))
    assert refused.settings["stars"] == "all"
    with pytest.raises(ValueError, match="Fiducial cannot be shown: Expected phot_g_mean_mag and bp_rp"):
        refused.controls["stars"].value = "fiducial"


# ---- candidates


def test_a_candidate_that_is_chosen_is_drawn_in_all_views(panel, stars, scan):
    rows = panel.controls["candidate"].options
    assert len(rows) == len(scan.candidates) + 1
    assert rows[1][0].split()[:4] == ["1", f"{scan.candidates['strength'][0]:.1f}", "−5.0", "−3.0"]
    panel.choose(0)
    assert (panel.settings["center"], panel.settings["other"]) == pytest.approx((-5.0, -3.0), abs=0.3)
    assert panel.settings["width"] == panel.settings["other_width"] == 2.0
    own = scan.members[0]["row"][scan.members[0]["probability"] > 0.5]
    assert np.mean(stars["origin"][own] == 1) > 0.8
    for view, names in ((0, ("lon", "lat")), (2, ("pm_lon", "pm_lat")), (3, ("bp_rp", "phot_g_mean_mag"))):
        x, y = (np.asarray(stars[name], float)[own] for name in names)
        x = x * np.cos(np.deg2rad(y)) if view == 0 else x
        np.testing.assert_allclose(xy_of(panel.views[view], "members"), np.stack([x, y], 1), rtol=1e-5)
    track = xy_of(panel.view, "track")
    middle = np.median(xy_of(panel.view, "members"), axis=0)
    assert np.hypot(*(track - middle).T).min() < 0.5
    assert "candidate 1" in [layer["text"] for layer in panel.views[1].frame["layers"]]
    panel.choose(None)
    assert "track" not in labels(panel.view)


def test_a_judged_scan_shows_its_chances(stars, scan, made):
    strength = float(scan.candidates["strength"][0])
    null = Null(np.full(9, strength - 0.1), tuple([np.full(1, strength - 0.1)] * 9), "mock", 0.0)
    judged = made(StreamPanel(stars, scan.config, null.judge(scan), size=64, threaded=False))
    assert "fluke: p 0.1" in judged.controls["candidate"].options[1][0].replace("\u00a0", " ")


def test_candidates_that_are_not_there_are_refused(panel, stars, scan, made):
    with pytest.raises(ValueError, match=rf"Expected a candidate from 0 to {len(scan.candidates) - 1}, got 99"):
        panel.choose(99)
    empty = made(StreamPanel(stars, COUNTS, size=64, threaded=False))
    with pytest.raises(ValueError, match="Expected candidates to choose from, got none"):
        empty.choose(0)
    with pytest.raises(ValueError, match="Expected a scan to save, got none"):
        empty.save("scan.parquet")


def test_a_scan_belongs_to_its_stars(panel, stars, scan):
    some = stars.take(np.arange(len(stars)) % 2 == 0)
    with pytest.raises(ValueError, match=r"Expected a scan of these 6,150 stars, got one of 12,300 others"):
        StreamPanel(some, COUNTS, scan, size=64, threaded=False)
    panel.choose(0)
    panel.catalog = some
    assert panel.settings["candidate"] is None
    assert "other stars" in panel._note.value
    panel.catalog = stars
    panel.choose(0)
    assert "track" in labels(panel.view)


# ---- training and scanning


def test_train_scores_the_region_under_the_slider(stars, made):
    panel = made(StreamPanel(stars, SCORED, size=64, threaded=False))
    panel.set(center=-4.0, width=6.0)
    assert panel.controls["best"].disabled
    panel.train()
    assert (panel.fit.region.low, panel.fit.region.high) == (-7.0, -1.0)
    inside = (stars["pm_lon"] >= -7) & (stars["pm_lon"] < -1)
    np.testing.assert_array_equal(np.isfinite(panel.fit.ln_ratio), inside)
    assert len(panel.fit.history)
    panel.set(best=True, top=50)
    assert panel.view.frame["title"] == "50 stars of highest score"
    rows = np.flatnonzero(inside & COUNTS.fiducial.select(stars))
    best = rows[np.argsort(-panel.fit.ln_ratio[rows])[:50]]
    np.testing.assert_allclose(np.sort(xy_of(panel.views[3], "")[:, 1]), np.sort(stars["phot_g_mean_mag"][best]))
    panel.set(center=0.0)
    assert "no scores of this region yet" in panel.status
    assert counted(panel.view) > 50
    panel.train()
    assert len(panel.runs) == 2
    first = next(iter(panel.runs))
    assert first == "run 1: Cwola, pm_lon −7 to −1"
    panel.bar.which.value = first
    assert panel.settings["center"] == -4.0
    assert panel.view.frame["title"] == "50 stars of highest score"
    panel.bar.which.value = next(run for run in panel.runs if run != first)
    assert panel.settings["center"] == 0.0  # also that which was trained last
    assert panel._scores(panel.settings) is panel.fit
    panel.config = dataclasses.replace(panel.config, seed=5)
    assert "no scores of this region yet" in panel.status


def test_a_picture_still_being_drawn_of_other_stars_leaves_nothing_behind(panel, stars, monkeypatch):
    late, columns, made = panel._kept, panel.selection.columns, Footprint
    monkeypatch.setattr("clearview.streams.Footprint", lambda config, xy: seen.append(len(xy)) or made(config, xy))
    seen: list[int] = []
    panel.catalog = stars.take(np.arange(len(stars)) % 2 == 0)
    own = dict(panel._kept.footprints)
    panel._hough(columns, late, np.ones(len(stars), bool), "all", None, len(stars), 1.0)
    assert panel._kept.footprints == own
    panel.set(stars="all")
    assert seen[-1] == len(panel.catalog)


def test_what_scores_ask_for(panel, made, stars):
    with pytest.raises(ValueError, match="Counts alone need no scores: choose a method to train"):
        panel.train()
    panel.set(method="Anode")
    assert isinstance(panel.config.method, Anode)
    with pytest.raises(ValueError, match="Expected a training that can be paused"):
        panel.pause()
    with pytest.raises(ValueError, match="Expected scores of a signal region, got"):
        panel.fit = type("Fit", (), {"data_digest": "", "stopped": "finished"})()
    panel.config = dataclasses.replace(panel.config, method=QUICK)
    assert panel.settings["method"] == "Cwola"
    panel.set(method="none")
    panel.set(method="Cwola")
    assert panel.config.method == QUICK
    empty = made(StreamPanel(size=64, threaded=False))
    assert empty.view.message.startswith("No stars yet")
    with pytest.raises(ValueError, match="Expected a catalogue to scan on, got none"):
        empty.scan()


def test_a_training_is_cancelled(stars, made):
    slow = dataclasses.replace(SCORED, method=Cwola(training=FitConfig(epochs=10_000, min_steps=0)))
    panel = made(StreamPanel(stars, slow, size=64))
    assert panel.idle.wait(WAIT)
    panel.train()
    with pytest.raises(RuntimeError, match="Expected nothing under way, got a training"):
        panel.scan()
    while not panel.bar.fraction.value:
        assert not panel.training.wait(0.05)
    panel.cancel()
    assert panel.training.wait(WAIT)
    assert panel.fit is None
    assert "Cancelled" in panel.bar.stage.value


def test_scan_lists_candidates_and_its_file_brings_them_back(stars, made, tmp_path):
    panel = made(StreamPanel(stars, COUNTS, size=64))
    assert panel.idle.wait(WAIT)
    panel.scan()
    assert panel.busy
    assert panel.scanning.wait(WAIT)
    assert panel.found.stopped == "finished"
    panel.save(tmp_path / "scan.parquet")
    with pytest.raises(FileExistsError):
        panel.save(tmp_path / "scan.parquet")
    again = made(StreamPanel(stars, COUNTS, size=64, threaded=False))
    again.load(tmp_path / "scan.parquet")
    assert again.controls["candidate"].options == panel.controls["candidate"].options
    again.choose(0)
    assert "track" in labels(again.view)
    assert f"clearview.load_scan({str(tmp_path / 'scan.parquet')!r})" in again.code()
    again.found = None
    assert again.settings["candidate"] is None


def test_a_scan_is_cancelled(stars, made):
    slow = dataclasses.replace(SCORED, method=Cwola(training=FitConfig(epochs=10_000, min_steps=0)))
    panel = made(StreamPanel(stars, slow, size=64))
    panel.scan()
    while not panel.scanner.fraction.value:
        assert not panel.scanning.wait(0.05)
    with pytest.raises(RuntimeError, match="Expected nothing under way, got a scan"):
        panel.train()
    panel.cancel()
    assert panel.scanning.wait(WAIT)
    assert panel.found is None
    assert "Cancelled" in panel.scanner.stage.value


# ---- what leaves the panel


def test_the_code_makes_the_same_picture(stars, made):
    config = dataclasses.replace(COUNTS, fiducial=Fiducial(radius=8.0), most=3)
    panel = made(StreamPanel(stars, config, size=64, threaded=False))
    panel.set(center=-5.0, width=2.5, other=-3.0, other_width=2.0)
    code = panel.code()
    code = re.sub(r"stars = .*\n", "", code).replace('panel.save_figure("picture.png")', "")
    names = {"clearview": clearview, "stars": stars}
    exec(code, names)
    again = made(names["panel"])
    assert again.config == config
    assert again.data().identical(panel.data())


def test_the_code_takes_the_stars_of_the_patch(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "stars.parquet"
    mocks.mock_patch(6_000, 2).write(path)
    zone = Patch(150.0, 25.0, 1.0)
    stars = Patch(148.6, 24.2, 10.0).of(clearview.read_catalog(path), without=[zone], fewest=50)
    panel = made(StreamPanel(stars, COUNTS, size=64, threaded=False))
    names = {"clearview": clearview}
    exec(next(line for line in panel.code().splitlines() if line.startswith("stars = ")), names)
    assert names["stars"].digest(NEEDED) == stars.digest(NEEDED)


def test_data_and_pictures_are_saved(panel, tmp_path):
    panel.save_figure(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
    panel.save_data(tmp_path / "data.nc")
    assert {"significance_2", "stars_3"} <= set(panel.data().data_vars)


def test_stars_selected_in_one_view_are_lit_up_in_the_others(panel):
    panel.set(stars="all", other_width=ALL, width=ALL)
    panel.views[2].selection = {"kind": "box", "xy": [-6, -4, -4, -4, -4, -2, -6, -2]}
    assert panel.selection.number
    assert "under" in panel.view.frame
    panel.view.selection = {"kind": "box", "xy": [-5, -5, 5, -5, 5, 5, -5, 5]}
    assert {w for step in panel.selection.steps for w in step.get("windows", {})} == {"pm_lon"}


# ---- bad input


def test_what_no_panel_can_show_is_refused(stars):
    with pytest.raises(KeyError, match="ra"):
        StreamPanel(sky_stars(100))
    with pytest.raises(TypeError, match="Expected a ScanConfig"):
        StreamPanel(stars, 5)
    with pytest.raises(TypeError, match="Expected a Scan"):
        StreamPanel(stars, COUNTS, 5)
    with pytest.raises(TypeError, match="Expected a Catalog"):
        StreamPanel("stars")


# ---- figures


def test_a_track_bends_away_from_its_line():
    (straight,) = track_path(30.0, 2.0, (0, 0, 0), (-5, 5)).data
    x, y = straight["x"], straight["y"]
    np.testing.assert_allclose(x * np.sin(np.pi / 6) - y * np.cos(np.pi / 6), 2.0)
    (bent,) = track_path(0.0, 0.0, (0.1, 0.2, 0.3), (-10, 10)).data
    np.testing.assert_allclose(bent["y"], -(0.1 + 0.02 * bent["x"] + 0.003 * bent["x"] ** 2))


def test_windows_are_lines_or_a_box():
    lines = frame_of(window_path((1, 2), None, (-3, 3, -4, 4)))
    xy = np.frombuffer(lines["layers"][0]["xy"]).reshape(-1, 2)
    assert np.nanmin(xy, 0).tolist() == [1, -4]
    assert np.nanmax(xy, 0).tolist() == [2, 4]
    assert len(layers(window_path((1, 2), (3, 4), (0, 0, 0, 0)))) == 1
    with pytest.raises(ValueError, match="Expected a window along x or y, got neither"):
        window_path(None, None, (0, 1, 0, 1))
