import dataclasses

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy import units as u

import clearview
from clearview.flows import CheckpointError, FitConfig
from clearview.mocks import Stream, inject, mock_patch
from clearview.mocks.patch import from_patch
from clearview.streams import (
    Anode,
    Cathode,
    Cwola,
    Fiducial,
    HoughConfig,
    Patch,
    ScanConfig,
    Scores,
    SignalRegion,
    find_lines,
    fit_members,
    follow,
    known_streams,
    load_scan,
    match_known,
    nearest_known,
    null_scans,
    permuted,
    protostreams,
    scan_patch,
    score_patch,
    smoothed,
    view_of,
)
from clearview.streams.cells import Cells, compact
from clearview.streams.found import track_of_candidate
from clearview.streams.nulls import Null

COUNTS = ScanConfig(method=None)
TRUTH = Stream(members=220, angle=40.0, offset=-2.0, length=12.0, width=0.3, pm=(5.0, -8.0))


def made(center=(148.6, 24.2), seed=1, n=20_000):
    catalog = inject(mock_patch(n, seed, center=center), TRUTH, seed=seed, center=center)
    return Patch(*center).of(catalog)


@pytest.fixture(scope="module")
def stars():
    return made()


@pytest.fixture(scope="module")
def scan(stars):
    return scan_patch(stars, COUNTS)


def first_is_the_stream(scan, stars):
    row, members = scan.candidates[0], scan.members[0]
    origin = np.asarray(stars["origin"])
    sure = np.asarray(members["row"])[np.asarray(members["probability"]) > 0.5]
    tilt = abs((row["theta"] - TRUTH.angle + 90) % 180 - 90)
    held = np.sum(origin[sure] == 1) / np.sum(origin == 1)
    return tilt, held, np.mean(origin[sure] == 1)


def test_a_stream_is_the_first_candidate_blind(scan, stars):
    tilt, held, pure = first_is_the_stream(scan, stars)
    row = scan.candidates[0]
    assert tilt < 6
    assert held > 0.6
    assert pure > 0.6
    assert abs(row["pm_lon"] - 5.0) < 0.3
    assert abs(row["pm_lat"] + 8.0) < 0.3
    assert abs(row["width"] - 0.3) < 0.1
    assert row["strength"] > 1.3 * scan.candidates["strength"][1]
    assert scan.candidates["pm_lon"].unit == u.mas / u.yr
    assert scan.candidates["theta"].unit == u.deg


def test_the_distance_is_about_that_of_the_stream(scan):
    row = scan.candidates[0]
    assert scan.candidates["distance"].unit == u.kpc
    assert abs(row["distance"] / TRUTH.distance - 1) < 0.2


def test_the_track_lies_where_its_members_are(scan, stars):
    row, members = scan.candidates[0], scan.members[0]
    true = np.asarray(stars["origin"])[np.asarray(members["row"])] == 1
    bent = np.vander(np.asarray(members["along"])[true] / 10, 3, increasing=True) @ [
        row["shift"], row["slope"], row["bend"],
    ]  # fmt: skip
    assert abs(np.median(np.asarray(members["across"])[true] - bent)) < 0.1


@pytest.mark.parametrize("center", [(0.3, 10.0), (200.0, 89.0)], ids=["seam", "pole"])
def test_the_seam_and_the_pole_are_as_any_place(center, stars, scan):
    there = from_patch(center, *(np.asarray(stars[n], float) for n in ("lon", "lat", "pm_lon", "pm_lat")))
    names = ("pmra_error", "pmdec_error", "phot_g_mean_mag", "bp_rp")
    columns = dict(zip(("ra", "dec", "pmra", "pmdec"), there, strict=True))
    units = {"ra": u.deg, "dec": u.deg, "pmra": u.mas / u.yr, "pmdec": u.mas / u.yr}
    from astropy.table import QTable

    table = {n: v * units[n] for n, v in columns.items()}
    table |= {n: np.asarray(stars[n]) * (u.mas / u.yr if "error" in n else u.mag) for n in names}
    found = scan_patch(Patch(*center).of(clearview.Catalog.from_table(QTable(table))), COUNTS)
    assert np.isclose(found.candidates["strength"][0], scan.candidates["strength"][0], rtol=0.02)


def test_the_same_twice(scan, stars):
    again = scan_patch(stars, COUNTS)
    assert np.array_equal(again.candidates["strength"], scan.candidates["strength"])


def test_a_scan_comes_back_from_its_file(scan, tmp_path):
    path = tmp_path / "a.scan.parquet"
    scan.save(path)
    back = load_scan(path)
    assert back.config == scan.config
    assert back.candidates.colnames == scan.candidates.colnames
    for name in scan.candidates.colnames:
        one, other = np.asarray(back.candidates[name]), np.asarray(scan.candidates[name])
        assert np.array_equal(one, other, equal_nan=other.dtype.kind == "f")
    for one, other in zip(back.members, scan.members, strict=True):
        assert all(np.array_equal(one[n], other[n]) for n in other.colnames)
    assert back.candidates["theta"].unit == u.deg
    with pytest.raises(FileExistsError, match="overwrite"):
        scan.save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match="scan the patch again"):
        load_scan(path)
    with pytest.raises(FileNotFoundError):
        load_scan(tmp_path / "none")


def test_other_files_are_no_scans(tmp_path):
    path = tmp_path / "b.parquet"
    clearview.load_sample("gd1_strip").write(path)
    with pytest.raises(CheckpointError):
        load_scan(path)


@pytest.mark.parametrize("method", [None, Anode(), Cwola(), Cathode(share=3)])
def test_configs_come_back_from_plain_values(method):
    config = ScanConfig(method=method, cells=(1.5,), hough=HoughConfig(radius=8.0), fiducial=Fiducial(color=(0, 2)))
    assert ScanConfig.from_dict(config.to_dict()) == config
    assert ScanConfig.as_published(seed=3).cells == (6.0,)


@pytest.mark.parametrize(
    "wrong", [{"method": "cwola"}, {"cells": ()}, {"width": -1}, {"counted": False, "tops": ()}, {"seed": -1},
              {"method": None, "counted": False}, {"sky": 1}, {"widths": (0.01,)}],
)  # fmt: skip
def test_senseless_configs_are_refused(wrong):
    with pytest.raises((ValueError, TypeError), match="Expected"):
        ScanConfig(**wrong)
    with pytest.raises(ValueError, match="method among"):
        ScanConfig.from_dict({"method": {"name": "Oracle"}})


def test_bad_stars_are_refused_in_a_sentence(stars):
    with pytest.raises(ValueError, match="missing='skip'"):
        scan_patch(bare(stars), COUNTS)
    with pytest.raises(ValueError, match="fiducial stars"):
        scan_patch(stars.take(np.arange(len(stars)) < 300), COUNTS)
    with pytest.raises(KeyError):
        scan_patch(clearview.load_sample("gd1_strip"), COUNTS)
    pm = np.asarray(stars["pm_lon"], float).copy()
    pm[3] = np.nan
    with pytest.raises(ValueError, match="1 stars without"):
        scan_patch(stars.with_columns({"pm_lon": pm * u.mas / u.yr}), COUNTS)


def bare(stars):
    from astropy.table import QTable

    units = {"lon": u.deg, "lat": u.deg, "pm_lon": u.mas / u.yr, "pm_lat": u.mas / u.yr}
    names = {"ra": u.deg, "dec": u.deg, "pmra": u.mas / u.yr, "pmdec": u.mas / u.yr, **units}
    return clearview.Catalog.from_table(QTable({n: np.asarray(stars[n]) * unit for n, unit in names.items()}))


def test_without_photometry_if_that_is_to_be_skipped(stars):
    found = scan_patch(bare(stars), dataclasses.replace(COUNTS, fiducial=Fiducial(missing="skip")))
    assert first_is_the_stream(found, stars)[0] < 8


def test_a_scan_can_be_cancelled(stars):
    seen = []
    found = scan_patch(stars, COUNTS, on_progress=lambda p: seen.append(p.stage) or False)
    assert found.stopped == "cancelled"
    assert len(seen) == 1
    with pytest.raises(ValueError, match="finished"):
        found.save("never")


def test_progress_is_told_from_start_to_end_and_stops_any_stage(stars, scan):
    told = []
    again = scan_patch(stars, COUNTS, on_progress=told.append)
    assert np.array_equal(again.candidates["strength"], scan.candidates["strength"])
    fractions = np.array([p.fraction for p in told])
    assert fractions[0] < 0.05
    assert fractions[-1] == 1
    assert (np.diff(fractions) >= 0).all()
    assert {p.stage for p in told} == {"lines", "streams", "finished"}
    for stage in ("lines", "streams"):
        found = scan_patch(stars, COUNTS, on_progress=lambda p, stage=stage: p.stage != stage)
        assert (found.stopped, len(found.candidates)) == ("cancelled", 0)
        assert stage in found.message


def test_a_motion_without_windows_is_told(stars):
    narrow = 3.0 + np.random.default_rng(0).uniform(-0.1, 0.1, len(stars))
    still = stars.with_columns({"pm_lat": narrow * u.mas / u.yr})
    scores = score_patch(still, SCORED)
    assert set(scores) == {"pm_lon"}
    assert "mas/yr in pm_lat, got none" in scores["pm_lon"][1].message


@pytest.mark.parametrize(("apart", "flagged"), [(0.0, True), (8.0, False)])
def test_a_cluster_on_the_track_that_moves_like_it_is_flagged(apart, flagged):
    field = mock_patch(20_000, 10, dwarf=None)
    told = field.meta["mock"]["globular cluster"]
    (x, y), (a, b) = told["place"], told["pm"]
    tail = Stream(members=220, angle=0.0, offset=-y, along=x + 1, length=10.0, width=0.2, pm=(a + apart, b))
    first = scan_patch(Patch(148.6, 24.2).of(inject(field, tail)), COUNTS).candidates[0]
    assert abs(first["pm_lon"] - a - apart) < 0.5
    assert ("cluster" in first["flags"].split(",")) is flagged


# ---- scores ----------------------------------------------------------------------------------------------------------

QUICK = FitConfig(epochs=2, min_steps=0, batch_size=512, validation=0.1)
SCORED = ScanConfig(method=Cwola(training=QUICK), step=6.0)


def test_scores_know_nothing_of_the_sky(stars):
    one = score_patch(stars, SCORED)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(stars))
    turned = stars.with_columns({n: np.asarray(stars[n])[order] * u.deg for n in ("lon", "lat")})
    other = score_patch(turned, SCORED)
    assert set(one) == {"pm_lon", "pm_lat"}
    for scan, (regions, scores) in one.items():
        for region, values, again in zip(regions, scores.ln_ratio, other[scan][1].ln_ratio, strict=True):
            assert np.array_equal(values, again, equal_nan=True)
            assert not np.isfinite(values[~region.inside(stars[scan])]).any()


def test_lines_of_the_highest_scores_are_looked_for(stars):
    found = scan_patch(stars, dataclasses.replace(SCORED, counted=False, tops=(60,)))
    assert found.stopped == "finished"
    assert set(str(f) for f in found.candidates["found_by"]) <= {"pm_lon 60", "pm_lat 60"}
    assert "signal regions scored" in found.notes


# ---- cells -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cells(stars):
    view = view_of(stars, COUNTS)
    rows = view.searched
    return view, Cells(view.x[rows], view.y[rows], view.pm[rows], COUNTS.hough)


def test_counts_of_a_cell_are_those_of_its_stars(cells):
    view, made = cells
    rows = view.searched
    for i, j, edge in [(20, 14, 4), (30, 20, 2), (0, 0, 60)]:
        counts, many = made.counts(i, j, edge)
        low = np.array([i, j]) * 0.5 - 15
        pm = view.pm[rows]
        inside = ((pm >= low) & (pm < low + edge * 0.5)).all(1) & (np.hypot(view.x[rows], view.y[rows]) <= 10)
        assert many == inside.sum()
        assert np.array_equal(counts, made.transform(np.flatnonzero(inside)))
        assert set(made.rows_of(i, i + edge, j, j + edge)) == set(np.flatnonzero(inside))


def test_a_reference_leaves_the_cell_and_its_margin_out(cells):
    view, made = cells
    reference, many = made.reference(20, 14, 4, enough=0.0)
    pm = view.pm[view.searched]
    middle = np.array(made.middle(20, 14, 4))
    off = np.abs(pm - middle).max(1)
    inside = np.hypot(view.x[view.searched], view.y[view.searched]) <= 10
    assert abs(many - np.sum((off < 4.0) & (off >= 2.0) & inside)) <= 2
    assert reference.sum() == many * COUNTS.hough.shape[0]


def test_the_significance_of_a_line_is_that_of_li_and_ma():
    rng = np.random.default_rng(3)
    field = rng.uniform(-10, 10, (60_000, 2))
    field = field[np.hypot(*field.T) < 10]
    line = np.stack([rng.uniform(-9, 9, 150), rng.normal(3.1, 0.1, 150)], 1)
    x, y = np.concatenate([field, line]).T
    pm = np.concatenate([np.full((len(field), 2), 9.1), np.full((150, 2), -9.1)])
    pm[:2000] = -9.1
    made = Cells(x, y, pm, HoughConfig())
    i = round((-9.5 + 15) / 0.5)
    counts, many = made.counts(i, i, 2)
    reference, beside = made.counts(round((9.0 + 15) / 0.5), round((9.0 + 15) / 0.5), 2)
    z, a, b, count, expected = made.strongest(counts, many, reference, beside, 0.6)
    theta, r = made.line(a, b)
    assert min(theta, 180 - theta) < 3
    on = np.sum(np.abs(x * np.sin(np.deg2rad(theta)) - y * np.cos(np.deg2rad(theta)) - r)[pm[:, 0] < 0] < 0.3)
    assert count == on
    area = 0.6 * 2 * np.sqrt(100 - 3.1**2) / (np.pi * 100)
    assert -0.1 < expected / (2000 * area) - 1 < 0.3  # the line itself leaks into what lies around it
    w = reference[a, b - 1 : b + 2].sum()
    alpha = expected / w
    lima = 2 * (count * np.log((1 + alpha) / alpha * count / (count + w)) + w * np.log((1 + alpha) * w / (count + w)))
    assert np.isclose(z, np.sqrt(lima), rtol=1e-6)


def test_a_cluster_is_compact_a_line_and_the_ends_of_a_strip_are_not():
    rng = np.random.default_rng(4)
    x, y = rng.uniform(-10, 10, (2, 20_000))
    pm = rng.normal(0, 4, (20_000, 2))
    cluster = np.stack([rng.normal(2, 0.1, 120), rng.normal(-3, 0.1, 120)])
    line = np.stack([rng.uniform(-9, 9, 400), rng.normal(5, 0.2, 400)])
    x, y = np.concatenate([[x, y], cluster, line], axis=1)
    pm = np.concatenate([pm, np.full((120, 2), (3.0, -4.0)), np.full((400, 2), (-6.0, 2.0))])
    masked = compact(x, y, pm)
    assert masked[20_000:20_120].mean() > 0.95
    assert masked[20_120:].mean() < 0.02
    assert masked[:20_000].mean() < 0.02
    strip = np.abs(y) < 1
    strip[20_000:] = False
    assert not compact(x[strip], y[strip], pm[strip]).any()


# ---- members ---------------------------------------------------------------------------------------------------------


def mixture(seed, many=300, field=6000):
    rng = np.random.default_rng(seed)
    along = rng.uniform(-6, 6, many)
    u_ = along / 10
    across = 0.2 + 0.5 * u_ + rng.normal(0, 0.25, many)
    pm = np.stack([3 + 1.0 * u_, -6 - 0.5 * u_], 1) + rng.normal(0, 0.3, (many, 2))
    x, y = np.concatenate([[along, across], rng.uniform(-9, 9, (2, field))], axis=1)
    pm = np.concatenate([pm, rng.normal((1, -4), 3, (field, 2))])
    return x, -y, pm, np.arange(many + field) < many  # the line along x has d = -y


def test_members_of_a_known_mixture():
    counts, widths, drifts, shown, true = [], [], [], [], []
    for seed in range(6):
        x, y, pm, own = mixture(seed)
        made = fit_members(x, y, pm, 0.0, 0.0, (3.2, -5.8))
        counts.append(made.count)
        widths.append(made.width)
        drifts.append(made.motion[1])
        shown.append(made.probability)
        true.append(own[made.rows])
    assert abs(np.mean(counts) / 300 - 1) < 0.12
    assert abs(np.mean(widths) - 0.25) < 0.04
    assert np.allclose(np.mean(drifts, 0), (1.0, -0.5), atol=0.3)
    p, t = np.concatenate(shown), np.concatenate(true)
    for low in (0.2, 0.4, 0.6, 0.8):  # what is called so probable is so often true
        some = (p >= low) & (p < low + 0.2)
        noise = np.sqrt(np.mean(p[some] * (1 - p[some])) / some.sum())
        assert abs(t[some].mean() - p[some].mean()) < 0.06 + 3 * noise


def test_colours_raise_the_purity_and_missing_ones_do_no_harm():
    x, y, pm, own = mixture(1, many=150)
    rng = np.random.default_rng(9)
    cmd = np.stack([rng.uniform(0.5, 1.0, len(x)), rng.uniform(16, 20, len(x))], 1)
    cmd[own, 0] = 0.7 + rng.normal(0, 0.03, own.sum())
    plain = fit_members(x, y, pm, 0.0, 0.0, (3.2, -5.8))
    coloured = fit_members(x, y, pm, 0.0, 0.0, (3.2, -5.8), cmd=cmd)
    cmd[::2] = np.nan
    half = fit_members(x, y, pm, 0.0, 0.0, (3.2, -5.8), cmd=cmd)

    def pure(m):
        return own[m.rows[np.argsort(-m.probability)[:100]]].mean()

    assert pure(coloured) >= pure(plain)
    assert coloured.gain > plain.gain + 20
    assert np.isfinite(half.probability).all()
    assert half.gain > plain.gain


def test_no_stream_gains_next_to_nothing():
    x, y, pm, _ = mixture(2, many=0)
    gain = fit_members(x, y, pm, 0.0, 0.0, (3.2, -5.8)).gain
    assert gain < 25
    with pytest.raises(ValueError, match="at least 10 stars"):
        fit_members(x[:50], y[:50], pm[:50], 0.0, 0.0, (60.0, 60.0))


# ---- the published chain ---------------------------------------------------------------------------------------------


def test_protostreams_are_what_regions_of_interest_agree_on(stars):
    """Scores that know the truth, with much noise: the lines of neighbouring regions and of both motions are one."""
    config = dataclasses.replace(ScanConfig.as_published(Cwola()), reach=15.0, hough=HoughConfig(10.0))
    view, rng = view_of(stars, config), np.random.default_rng(3)
    true = np.asarray(stars["origin"]) == 1
    scores = {}
    for scan, center in (("pm_lon", 5.0), ("pm_lat", -8.0)):
        regions = [SignalRegion(scan, center + d - 3, center + d + 3) for d in (-1.0, 0.0, 1.0)]
        made = []
        for region in regions:
            inside = (stars[scan] >= region.low) & (stars[scan] < region.high)
            made.append(np.where(inside, 2.0 * true + rng.normal(size=len(stars)), np.nan).astype(np.float32))
        scores[scan] = regions, Scores(made, np.zeros(3, int), np.zeros(3), "finished", "", 0.0)
    first, *others = found = protostreams(view, config, scores)
    assert len({(k.scan, k.region) for k in first.clusters}) >= 4
    assert abs((first.line.theta - TRUTH.angle + 90) % 180 - 90) < 5
    assert abs(first.line.r - TRUTH.offset) < 1
    assert np.hypot(*(first.pm - np.array(TRUTH.pm))) < 1
    assert np.mean(true[first.stars]) > 0.4
    assert all(first.sigma > other.sigma for other in others)
    lines = find_lines(view, config, scores)
    assert [line.z for line in lines] == [k.sigma for k in found]
    assert lines[0].found_by == f"{len(first.clusters)} regions of interest"
    followed = follow(view, lines, config)
    sure = followed[0].members.rows[followed[0].members.probability > 0.5]
    assert np.mean(true[view.searched[sure]]) > 0.7
    with pytest.raises(ValueError, match="got no method"):
        ScanConfig(merged=True)


# ---- nulls -----------------------------------------------------------------------------------------------------------


def test_permutations_keep_the_sky_and_the_motions_but_not_their_link(stars):
    view = view_of(stars, COUNTS)
    empty = permuted(view, np.random.default_rng(0))
    rows = view.searched
    assert np.array_equal(np.sort(empty.x[rows]), np.sort(view.x[rows]))
    assert np.array_equal(empty.pm, view.pm)
    pairs = {*zip(view.x[rows], view.y[rows], strict=True)}
    assert {*zip(empty.x[rows], empty.y[rows], strict=True)} == pairs
    assert np.mean(empty.x[rows] == view.x[rows]) < 0.1
    fewer = permuted(view, np.random.default_rng(0), without=np.arange(len(stars)) < 1000)
    assert len(fewer.searched) == np.sum(rows >= 1000)


def test_smoothed_patches_keep_gradients_and_lose_the_stream(stars):
    view = view_of(stars, COUNTS)
    empty = smoothed(view, np.random.default_rng(0))
    rows = view.searched
    assert len(empty.searched) == len(rows)
    assert abs(empty.pm.mean(0) - view.pm[rows].mean(0)).max() < 0.3
    assert abs(empty.y.mean() - view.y[rows].mean()) < 0.4


@pytest.mark.parametrize("kind", ["permuted", "smoothed"])
def test_a_stream_is_no_fluke_and_a_fluke_is(stars, scan, kind):
    null = null_scans(stars, COUNTS, n=6, kind=kind, seed=5)
    assert null.p_value(scan.candidates["strength"][0]) == 1 / 7
    assert null.p_value(0.0) == 1.0
    assert null.best.max() < scan.candidates["strength"][0]
    again = null_scans(stars, COUNTS, n=6, kind=kind, seed=5, on_progress=lambda p: p.fraction < 2.1 / 6)
    assert np.array_equal(again.best, null.best[:2])


def test_rates_and_thresholds_by_hand():
    strengths = tuple(np.array([6.0, 7.0 + i / 10]) for i in range(20))
    null = Null(np.array([s.max() for s in strengths]), strengths, "mock", 0.0)
    assert null.per_patch(8.85)[0] == 1 / 20
    mean, limit = null.per_patch(9.0)
    assert mean == 0
    assert np.isclose(limit, 3.0 / 20, rtol=0.01)  # -ln 0.05 of no event
    assert np.isclose(null.threshold(0.05), 8.8, atol=1e-5)
    assert null.per_patch(null.threshold(0.05))[0] <= 0.05
    assert null.p_value(8.85) == 2 / 21
    assert 0 < null.extrapolated(12.0) < 0.05
    with pytest.raises(ValueError, match="kind among"):
        null_scans(made(), COUNTS, kind="sideways")


def test_every_candidate_is_told_how_likely_it_is_a_fluke(scan, tmp_path):
    strength = np.asarray(scan.candidates["strength"], float)
    strengths = (np.array([strength[0] + 1, strength[0] + 2]), *[np.array([strength[0] - 1e-3])] * 18, np.zeros(0))
    null = Null(np.array([s.max(initial=0.0) for s in strengths]), strengths, "mock", 0.0)
    judged = null.judge(scan).candidates
    assert judged["p_fluke"][0] == pytest.approx(2 / 21)
    assert judged["false_alarms"][0] == pytest.approx(2 / 20)
    assert (np.diff(judged["p_fluke"]) >= 0).all()  # a weaker one is no less likely a fluke
    many = null.judge(scan, patches=100).candidates
    assert many["p_fluke"][0] == pytest.approx(1 - (1 - 2 / 21) ** 100)
    assert many["false_alarms"][0] == pytest.approx(10)
    assert "p_fluke" not in scan.candidates.colnames
    null.judge(scan).save(tmp_path / "scan.parquet")
    assert np.array_equal(load_scan(tmp_path / "scan.parquet").candidates["p_fluke"], judged["p_fluke"])
    certain = Null(np.full(3, 99.0), tuple([np.full(1, 99.0)] * 3), "mock", 0.0)
    assert np.allclose(certain.judge(scan).candidates["p_fluke"], 1)
    with pytest.raises(ValueError, match="Expected patches"):
        null.judge(scan, patches=0)
    with pytest.raises(TypeError, match="a Scan"):
        null.judge(judged)


def test_empty_patches_are_those_of_the_same_search(stars, scan):
    null = null_scans(stars, COUNTS, n=2, seed=3)
    assert null.judge(scan).candidates["p_fluke"][0] == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="the settings of the empty patches"):
        null.judge(dataclasses.replace(scan, config=dataclasses.replace(COUNTS, weakest=1.0)))
    with pytest.raises(ValueError, match="the stars of the empty patches"):
        null.judge(dataclasses.replace(scan, digest="other"))


def test_a_candidate_names_the_known_stream_it_is(scan):
    ra, dec, pmra, pmdec = track_of_candidate(scan.center, scan.candidates[0])
    matches = match_known(ra, dec, pmra, pmdec)
    close = [m for m in matches if not m["pm_offset"] > 2]
    assert scan.candidates["known"][0] == (str(close[0]["stream"]) if close else "")
    track = known_streams(newest=True)
    one = track.take(np.asarray(track["stream"]) == "GD-1")
    near = np.argsort(np.abs(np.asarray(one["ra"]) - 150))[:30]
    found = nearest_known(*(np.asarray(one[n], float)[near] for n in ("ra", "dec", "pmra", "pmdec")))
    assert found["known"] == "GD-1"
    assert found["offset"] < 0.01
    assert found["pm_offset"] < 0.01
    place = [np.asarray(one[n], float)[near] for n in ("ra", "dec", "pmra", "pmdec")]
    off = nearest_known(*place[:2], place[2] + 9, place[3])
    assert off["known"] != "GD-1"


def test_a_header_that_was_changed_is_damage(scan, tmp_path):
    path = tmp_path / "c.parquet"
    scan.save(path)
    table = pq.read_table(path)
    told = dict(table.schema.metadata)
    told[b"clearview"] = told[b"clearview"].replace(b"candidates among", b"candidates amonk")
    pq.write_table(table.replace_schema_metadata(told), path)
    with pytest.raises(CheckpointError, match="scan the patch again"):
        load_scan(path)


def test_without_enough_stars_in_any_cell_the_message_says_so(stars):
    found = scan_patch(stars, dataclasses.replace(COUNTS, fewest=100, cells=(0.5,)))
    assert len(found.candidates) == 0
    assert "take larger cells" in found.message
    assert "angle" in found.candidates.colnames


def test_a_dominant_cluster_is_no_stream():
    patch = Patch(148.6, 24.2).of(mock_patch(12_000, 3))
    found = scan_patch(patch, COUNTS)
    view = view_of(patch, COUNTS)
    assert not np.isin(view.searched, np.flatnonzero(np.asarray(patch["origin"]) == 2)).sum() > 20
    assert found.candidates["strength"].max(initial=0.0) < 12


def test_sentinels_are_no_photometry_and_names_are_identifiers(stars):
    from astropy.table import QTable

    units = {n: stars.unit(n) for n in stars.columns}
    table = {n: np.asarray(stars[n]) * u if u else np.asarray(stars[n]) for n, u in units.items()}
    table["bp_rp"] = np.where(np.arange(len(stars)) == 5, -9999.0, table["bp_rp"].value) * units["bp_rp"]
    table["pmra_error"] = np.where(np.arange(len(stars)) == 7, np.nan, table["pmra_error"].value) * units["pmra_error"]
    table["source_id"] = np.array([f"Gaia DR3 {i}" for i in range(len(stars))])
    found = scan_patch(clearview.Catalog.from_table(QTable(table)), COUNTS)
    assert first_is_the_stream(found, stars)[0] < 6
    assert str(found.members[0]["source_id"][0]).startswith("Gaia DR3")
    masked = np.ma.masked_less(np.arange(len(stars), dtype=np.uint64), 10_000)
    ids = scan_patch(stars.with_columns({"source_id": masked}), COUNTS).members[0]["source_id"]
    assert ids.min() == -1
    assert ids.max() >= 10_000
    assert found.center is None
