"""The search of many patches: the same streams however often it was killed, and each of them once."""

import dataclasses
import json
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

from clearview.catalogs import Box, open_catalog, partitions
from clearview.figures import frame_of, sky_map
from clearview.mocks import Stream, inject, mock_patch
from clearview.streams import Cwola, Patch, ScanConfig, allsky, null_scans, scan_patch
from clearview.streams.across import merge_scans, protostreams_of
from clearview.streams.allsky import SkyScan, cost_of, scan_sky, search

CONFIG = ScanConfig(method=None)
PATCHES = [Patch(173.0, 29.0), Patch(187.0, 31.0), Patch(180.0, 20.0), Patch(180.0, 40.0), Patch(165.0, 30.0)]
NOWHERE = Patch(10.0, -30.0)


@pytest.fixture(scope="module")
def stars():
    """A field of 50 deg with a stream through its middle, 34 deg long."""
    field = mock_patch(15_000, center=(180.0, 30.0), radius=25.0, seed=1, smooth=True)
    stars = inject(field, Stream(500, offset=1.0, angle=10.0, length=34.0, width=0.25, pm=(-8.0, -6.0)), 1)
    return stars.with_columns({"source_id": 2**50 + np.arange(len(stars))})


@pytest.fixture(scope="module")
def scans(stars):
    return {number: scan_patch(patch.of(stars), CONFIG) for number, patch in enumerate(PATCHES)}


@pytest.fixture(scope="module")
def table(scans):
    return merge_scans(scans, PATCHES)[0]


@pytest.fixture
def fake(scans, monkeypatch):
    """Stands in for `scan_patch`: what it gave, and which patches it was asked for."""
    made = SimpleNamespace(asked=[], fail=None, pause=0.0)
    known = {PATCHES[number].center: number for number in scans}

    def scan(stars, config, *, on_progress=None):
        number = known[tuple(stars.meta["patch"]["center"])]
        made.asked.append(number)
        if made.fail and number in made.fail:
            raise made.fail[number]
        for _ in range(round(made.pause / 0.05)):
            time.sleep(0.05)
            if on_progress(None) is False:
                return dataclasses.replace(scans[number], stopped="cancelled")
        return scans[number]

    monkeypatch.setattr(allsky, "scan_patch", scan)
    return made


class Here:
    """A client whose work is done when it is submitted."""

    def submit(self, work, *given):
        future = Future()
        try:
            future.set_result(work(*given))
        except BaseException as error:
            future.set_exception(error)
        return future


def run(*given, **named):
    return scan_sky(*given, client=Here(), **named)


def test_a_stream_of_several_patches_is_one(stars, scans, table):
    first = table[0]
    assert set(first["patches"].split(",")) >= {"0", "1"}
    parts = [tuple(map(int, part.split(":"))) for part in first["parts"].split(",")]
    assert all(row == 0 for _, row in parts)  # the strongest of each patch that it comes through
    squares = [scans[number].candidates["strength"][row] ** 2 for number, row in parts]
    assert first["strength"] == pytest.approx(np.sqrt(sum(squares)))
    members = merge_scans(scans, PATCHES)[1][0]
    ids = np.asarray(members["source_id"])
    assert len(np.unique(ids)) == len(ids)
    found, true = ids[members["probability"] > 0.5] - 2**50, np.flatnonzero(stars["origin"] == 1)
    assert len(found) == first["members"]
    assert np.isin(found, true).mean() > 0.9
    assert np.isin(true, found).mean() > 0.9  # also those that one patch alone has
    assert np.isnan(first["offset"]) or first["offset"] < 1  # of a known track, if one lies there
    assert table["offset"].unit == "deg"
    assert first["length"] == pytest.approx(0.9 * 34, abs=1.5)
    assert all(table["strength"][1:] < first["strength"])
    place = stars.take(stars["origin"] == 1)
    near = np.hypot((place["ra"] - first["ra"]) * np.cos(np.deg2rad(first["dec"])), place["dec"] - first["dec"])
    np.testing.assert_allclose(
        [first["pmra"], first["pmdec"]], [np.median(place[n][near < 3]) for n in ("pmra", "pmdec")], atol=0.3
    )


def test_streams_that_only_lie_near_each_other_stay_apart(scans):
    """The same candidates, but for the stars of one patch, which are others."""
    others = dict(scans)
    members = [m.copy() for m in scans[1].members]
    for one in members:
        one["source_id"] += 10**9
    others[1] = dataclasses.replace(scans[1], members=members)
    table = merge_scans(others, PATCHES)[0]
    assert not any({"0", "1"} <= set(row["patches"].split(",")) for row in table)
    assert len(table) > len(merge_scans(scans, PATCHES)[0])


def test_the_line_of_a_candidate_is_the_chord_of_its_track(scans):
    row = scans[0].candidates[:1].copy()
    row["theta"], row["r"], row["shift"], row["slope"], row["bend"] = 40.0, 2.0, 0.5, 1.0, 0.3
    row["first"], row["last"] = -8.0, 6.0
    line = protostreams_of(dataclasses.replace(scans[0], candidates=row, members=scans[0].members[:1]), (0, 0))[0].line
    t = np.deg2rad(40.0)
    for along in (-8.0, 6.0):
        across = 2.5 + along / 10 + 0.3 * (along / 10) ** 2
        x, y = along * np.cos(t) + across * np.sin(t), along * np.sin(t) - across * np.cos(t)
        turned = np.deg2rad(line.theta)
        assert x * np.sin(turned) - y * np.cos(turned) == pytest.approx(line.r)


def test_a_search_writes_what_it_found(stars, fake, table, tmp_path):
    told = []
    sky = run(stars, tmp_path / "sky", PATCHES, CONFIG, on_progress=told.append)
    assert (told[-1].state, told[-1].done, told[-1].total) == ("finished", 5, 5)
    written = Table.read(tmp_path / "sky" / "candidates.ecsv")
    for name in table.colnames:
        np.testing.assert_array_equal(written[name], table[name])
    assert written["ra"].unit == "deg"
    assert written["pmra"].unit == "mas / yr"
    assert written.meta["searched"] == 5
    np.testing.assert_array_equal(sky.members(0)["source_id"], merge_scans(sky.scans(), PATCHES)[1][0]["source_id"])
    assert sky.scan(0).digest == PATCHES[0].of(stars).digest(("lon", "lat", "pm_lon", "pm_lat"))


def test_tracks_of_what_was_found_on_a_map(stars, fake, scans, tmp_path):
    sky = run(stars, tmp_path / "sky", PATCHES, CONFIG)
    tracks, table = sky.tracks(), sky.candidates()
    assert list(dict.fromkeys(tracks["stream"])) == [str(row) for row in range(len(table))]
    first = tracks[tracks["stream"] == "0"]
    assert list(dict.fromkeys(first["reference"])) == table["parts"][0].split(",")
    part = first[first["reference"] == first["reference"][0]]
    middle = part[len(part) // 2]
    assert [middle[n] for n in ("ra", "dec", "pmra", "pmdec")] == [table[n][0] for n in ("ra", "dec", "pmra", "pmdec")]
    number, row = map(int, first["reference"][0].split(":"))
    ends = [scans[number].candidates[name][row] for name in ("first", "last")]
    away = SkyCoord(part["ra"][0], part["dec"][0], unit="deg").separation(
        SkyCoord(part["ra"][-1], part["dec"][-1], unit="deg")
    )
    assert away.deg == pytest.approx(np.ptp(ends), rel=0.05)
    assert first["ra"].unit == "deg"
    drawn, same = (frame_of(sky_map(given)) for given in (sky, tracks))
    assert drawn["layers"] == same["layers"]
    assert drawn["title"].startswith(f"{len(table)} candidate")
    with pytest.raises(KeyError, match=r"with stream, ra and dec, got none called stream; of a search .* pass tracks"):
        sky_map(table)


def test_real_patches_as_workers_search_them(stars, scans, tmp_path):
    """Without the fake: what is read from the files is what is in memory, up to the order of the stars."""
    sky = SkyScan.create(tmp_path / "sky", stars, PATCHES[:1], CONFIG, empty=1)
    assert search(sky.directory, 0) == "finished"
    found = sky.scan(0)
    null = null_scans(sky.patches[0].of(sky._stars(0)), CONFIG, n=1, scan=found)
    assert sky._record(0)["empty"] == [null.strengths[0].tolist()]
    assert sky.candidates()["p_fluke"][0] == pytest.approx(0.5)  # one patch, and one without anything so strong
    assert found.stars == scans[0].stars
    np.testing.assert_allclose(found.candidates["strength"][0], scans[0].candidates["strength"][0], rtol=1e-3)
    assert search(sky.directory, 0) == "finished"
    assert sky.estimate(10, 1).patches == 1


def test_how_likely_streams_over_the_sky_are_flukes(stars, scans, fake, table, tmp_path, monkeypatch):
    """By the strongest part, all empty patches, and as many patches as were searched."""
    strongest = [max(scans[int(n)].candidates["strength"][int(k)] for n, k in (p.split(":") for p in parts.split(",")))
                 for parts in table["parts"]]  # fmt: skip
    made, asked = iter(range(100)), []

    def empty_ones(inside, config, *, n, scan, on_progress):
        asked.append((len(inside), n, scan.stars))
        first = next(made) == 0  # one patch alone has empty ones with something as strong as the strongest
        one = np.array([strongest[0] + 1, strongest[0]] if first else [])
        return SimpleNamespace(strengths=(one, *[np.array([1.0])] * (n - 1)))

    monkeypatch.setattr(allsky, "null_scans", empty_ones)
    sky = run(stars, tmp_path / "sky", PATCHES, CONFIG, empty=3)
    assert all(one == (one[0], 3, one[0]) for one in asked)
    found = Table.read(sky.directory / "candidates.ecsv")
    assert found["p_fluke"][0] == pytest.approx(1 - (1 - 2 / 16) ** 5)
    assert found["false_alarms"][0] == pytest.approx(5 * 2 / 15)
    weakest = int(np.argmin(strongest))
    assert found["p_fluke"][weakest] == pytest.approx(1 - (1 - (1 + 1) / 16) ** 5)
    assert found.meta["empty"] == 3
    assert "p_fluke" not in table.colnames
    with pytest.raises(FileExistsError, match="other empty"):
        SkyScan.create(sky.directory, stars, PATCHES, CONFIG)
    with pytest.raises(ValueError, match="Expected scores that know nothing of the sky for empty patches"):
        SkyScan.create(tmp_path / "b", stars, PATCHES, ScanConfig.as_published(), empty=3)


def test_cancelled_among_the_empty_patches(stars, fake, tmp_path, monkeypatch):
    def empty_ones(inside, config, *, n, scan, on_progress):
        SkyScan(tmp_path / "sky").cancel()
        assert on_progress(None) is False
        return SimpleNamespace(strengths=(np.array([1.0]),))

    monkeypatch.setattr(allsky, "null_scans", empty_ones)
    sky = run(stars, tmp_path / "sky", PATCHES[:1], CONFIG, empty=3)
    assert (sky.status.done, sky.scans()) == (0, {})


def test_what_a_kill_leaves_changes_nothing(stars, fake, tmp_path):
    whole = run(stars, tmp_path / "whole", PATCHES, CONFIG)
    wanted = (whole.directory / "candidates.ecsv").read_bytes()
    assert fake.asked == [0, 1, 2, 3, 4]
    sky = run(stars, tmp_path / "sky", PATCHES, CONFIG)
    (sky.directory / "candidates.ecsv").unlink()
    path = sky._path(2)
    path.write_bytes(path.read_bytes()[:-300])  # a disk that lost power
    for number, word in ((1, b'"strength": ['), (3, b'"stars": ')):  # a digit, of which no checksum of Parquet knows
        damaged = bytearray(sky._path(number).read_bytes())
        damaged[damaged.index(word) + len(word)] ^= 1
        sky._path(number).write_bytes(bytes(damaged))
    sky._path(4).unlink()
    (sky.directory / "0004.json").write_text("{")
    (sky.directory / "0000.json").unlink()  # between a scan and its record
    (sky.directory / ".0004.scan.parquet.1.2.partial").write_bytes(b"half")
    other = SkyScan.create(tmp_path / "other", stars, PATCHES[::-1], CONFIG)
    other._path(0).write_bytes(whole._path(0).read_bytes())  # of another search
    fake.asked.clear()
    assert sky.run(client=Here()).state == "finished"
    assert fake.asked == [0, 1, 2, 3, 4]
    assert (sky.directory / "candidates.ecsv").read_bytes() == wanted
    assert sorted(p.name for p in sky.directory.glob("*.damaged*")) == [
        f"000{n}.scan.parquet.damaged" for n in (1, 2, 3)
    ]
    assert not list(sky.directory.glob(".*.partial"))
    fake.asked.clear()
    other.run(client=Here())
    assert sorted(fake.asked) == [0, 1, 2, 3, 4]


def test_stars_half_written(stars, fake, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("no room")

    with monkeypatch.context() as broken:
        broken.setattr(allsky, "_write_pieces", full)
        with pytest.raises(OSError, match="no room"):
            run(stars, tmp_path / "sky", PATCHES, CONFIG)
    assert not (tmp_path / "sky" / "stars").exists()
    assert run(stars, tmp_path / "sky", PATCHES, CONFIG).status.state == "finished"


def test_two_runs_side_by_side(stars, fake, tmp_path):
    fake.pause = 0.2
    sky = SkyScan.create(tmp_path / "sky", stars, PATCHES, CONFIG)
    with ThreadPoolExecutor(4) as workers, ThreadPoolExecutor(2) as runs:
        both = list(runs.map(lambda _: SkyScan(sky.directory).run(client=workers), range(2)))
    assert [one.state for one in both] == ["finished"] * 2
    assert sorted(fake.asked) == [0, 1, 2, 3, 4]


def test_one_patch_does_not_end_the_others(stars, fake, tmp_path):
    fake.fail = {1: RuntimeError("out of order today"), 2: np.linalg.LinAlgError("Singular matrix")}  # a ValueError
    sky = run(stars, tmp_path / "sky", [*PATCHES, NOWHERE], CONFIG)
    status = sky.status
    assert (status.state, status.done, status.refused, status.failed) == ("failed", 4, 1, 2)
    assert "out of order today" in status.message
    assert "Singular matrix" in sky._record(2)["message"]
    with pytest.raises(ValueError, match=r"Expected a patch that was searched, 5 was not: Expected stars within 15"):
        sky.scan(5)
    assert not (sky.directory / "candidates.ecsv").exists()
    assert "Traceback" in (sky.directory / "log.txt").read_text()
    fake.fail, fake.asked[:] = None, []
    assert sky.run(client=Here()).state == "finished"
    assert fake.asked == [1, 2]  # what cannot be searched is not asked for again
    assert len(sky.scans()) == 5
    assert Table.read(sky.directory / "candidates.ecsv").meta["refused"] == 1


def test_too_few_stars(stars, tmp_path):
    sky = run(stars, tmp_path / "sky", PATCHES[:1], CONFIG, fewest=100_000)
    assert sky.status.refused == 1
    assert "Expected at least 100,000 stars with proper motions within 15 deg" in sky._record(0)["message"]
    assert len(sky.candidates()) == 0
    with pytest.raises(ValueError, match="Expected at least one patch that was searched, got none"):
        sky.estimate()


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (ScanConfig(fewest=10**6), "fiducial stars to search"),
        (ScanConfig(method=Cwola(), width=500.0), "on either side"),
    ],
)
def test_what_no_search_could_search_is_refused(stars, config, words, tmp_path):
    """By the search itself, not by the stand-in."""
    sky = SkyScan.create(tmp_path / "sky", stars, PATCHES[:1], config)
    assert search(sky.directory, 0) == "refused"
    assert words in sky._record(0)["message"]


def test_a_worker_that_dies(stars, fake, tmp_path):
    class Dying(Here):
        def submit(self, work, *given):
            if given[1] != 3:
                return super().submit(work, *given)
            future = Future()
            future.set_exception(MemoryError("the worker was killed"))
            return future

    sky = SkyScan.create(tmp_path / "sky", stars, PATCHES, CONFIG)
    status = sky.run(client=Dying())
    assert (status.state, status.failed, status.done) == ("failed", 1, 4)
    assert "the worker was killed" in status.message


def test_cancel_and_go_on(stars, fake, tmp_path, monkeypatch):
    monkeypatch.setattr(allsky, "POLL", 0.1)
    fake.pause = 0.5
    sky, told = SkyScan.create(tmp_path / "sky", stars, PATCHES, CONFIG), []

    def some(progress):
        told.append(progress)
        return progress.done < 2

    with ThreadPoolExecutor(2) as workers:
        status = sky.run(client=workers, on_progress=some)
    assert status.state == "cancelled"
    assert 2 <= sky.status.done < 5
    assert any(one.remaining for one in told)
    assert sky.status.state == "waiting"
    fake.pause, before = 0.0, list(sky.directory.glob("*.scan.parquet"))
    assert sky.run(client=Here()).state == "finished"
    assert len(fake.asked) <= 5 + (5 - len(before))


def test_a_patch_that_another_run_called_back_is_searched(stars, fake, tmp_path, monkeypatch):
    """A worker saw that it was to stop; since then another run has begun and taken that back."""
    monkeypatch.setattr(allsky, "POLL", 0.1)
    asked = []

    class Late(Here):
        def submit(self, work, *given):
            asked.append(given[1])
            return super().submit((lambda *_: "cancelled") if asked.count(1) == 1 and given[1] == 1 else work, *given)

    sky = SkyScan.create(tmp_path / "sky", stars, PATCHES, CONFIG)
    assert sky.run(client=Late()).state == "finished"
    assert (asked.count(1), sky.status.done) == (2, 5)


def split(stars, folder, name, width=10.0):
    """Files that are stripes of declination."""
    stripe = (stars["dec"] // width).astype(int)
    for number in np.unique(stripe):
        path = folder / name.format(number + 20)
        path.parent.mkdir(parents=True, exist_ok=True)
        stars.take(stripe == number).write(path)
    return folder


class FakeDask:
    """What is asked of a Dask DataFrame or an LSDB catalogue."""

    def __init__(self, frames):
        self.frames, self.columns = frames, frames[0].columns

    def to_delayed(self):
        return [SimpleNamespace(compute=lambda frame=frame: frame) for frame in self.frames]

    def __getitem__(self, columns):
        return FakeDask([frame[columns] for frame in self.frames])


SOURCES = {
    "a file": lambda stars, tmp: write(stars, tmp / "stars.parquet"),
    "a CSV file": lambda stars, tmp: write(stars, tmp / "stars.csv"),
    "parts": lambda stars, tmp: split(stars, tmp / "parts", "part-{}.parquet"),
    "a pattern": lambda stars, tmp: str(split(stars, tmp / "parts", "part-{}.parquet") / "*.parquet"),
    "HATS": lambda stars, tmp: hats(stars, tmp / "hats"),
    "a LargeCatalog": lambda stars, tmp: open_catalog(hats(stars, tmp / "hats")).select(Box(dec=(-90, 90))),
    "Dask": lambda stars, tmp: open_catalog(FakeDask([stars.to_pandas()[i::2] for i in (0, 1)]), units="gaia"),
    "prepared": lambda stars, tmp: (open_catalog(write(stars, tmp / "a.parquet")).prepare(tmp / "b"), tmp / "b")[1],
}


def redder(stars):
    return stars.with_columns({"bp_rp": stars.quantity("bp_rp") + 1 * u.mag})


def write(stars, path):
    stars.write(path)
    return path


def hats(stars, folder):
    split(stars, folder, "dataset/Norder=1/Dir=0/Npix={}.parquet")
    (folder / "hats.properties").write_text(f"obs_collection=a\ndataproduct_type=object\nhats_nrows={len(stars)}\n")
    return folder


@pytest.mark.parametrize("source", SOURCES)
def test_stars_from_anywhere(source, stars, fake, table, tmp_path):
    given = SOURCES[source](stars, tmp_path)
    sky = SkyScan.create(tmp_path / "sky", given, PATCHES, CONFIG)
    patch = sky.patches[1].of(sky._stars(1))
    wanted = PATCHES[1].of(stars)
    order, other = np.argsort(patch["source_id"]), np.argsort(wanted["source_id"])
    for name in ("source_id", "ra", "pmra", "pmdec_error", "bp_rp"):
        np.testing.assert_array_equal(patch[name][order], wanted[name][other])
    assert "parallax" not in patch  # nor anything else that is not used
    copied = (sky.directory / "stars").exists()
    assert copied == (source in ("a CSV file", "a LargeCatalog", "Dask", "prepared"))
    if source != "Dask":  # which cannot be recognised
        assert SkyScan.create(sky.directory, given, PATCHES, CONFIG)._source == sky._source
    sky.run(client=Here())
    assert len(Table.read(sky.directory / "candidates.ecsv")) == len(table)


def test_without_identifiers_a_star_is_its_number(stars, fake, tmp_path):
    plain = stars.only([name for name in stars.columns if name != "source_id"])
    sky = SkyScan.create(tmp_path / "a", plain, PATCHES, CONFIG)
    patch = sky._stars(0)
    np.testing.assert_array_equal(patch["ra"], stars["ra"][patch["source_id"]])
    plain.write(tmp_path / "plain.parquet")
    sky = SkyScan.create(tmp_path / "b", tmp_path / "plain.parquet", PATCHES, CONFIG)
    patch = sky._stars(0)
    np.testing.assert_array_equal(patch["ra"], stars["ra"][patch["source_id"]])


def test_text_identifies_stars_too(stars, scans, table):
    """As in a scan from memory, and in one from a file, where text is no NumPy string."""
    named = {}
    for number, scan in scans.items():
        members = [m.copy() for m in scan.members]
        for one in members:
            one["source_id"] = np.array([f"Gaia DR3 {n}" for n in one["source_id"]], object if number % 2 else str)
        named[number] = dataclasses.replace(scan, members=members)
    found, tables = merge_scans(named, PATCHES)
    for name in table.colnames:
        np.testing.assert_array_equal(found[name], table[name])
    assert str(tables[0]["source_id"][0]).startswith("Gaia DR3 ")


def with_ids(stars, ids):
    return stars.with_columns({"source_id": ids})


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (lambda n: np.zeros(n, int), "14,999 with that of another"), (lambda n: np.arange(n) - 3, "got 3 without"),
        (lambda n: np.ma.masked_less(np.arange(n), 7), "got 7 without"), (lambda n: np.arange(n) + 0.0, "got float64"),
        (lambda n: np.where(np.arange(n) < 2, "", np.arange(n).astype(str)), "got 2 without"),
    ],
)  # fmt: skip
def test_stars_that_are_not_known_apart_are_refused(ids, words, stars, tmp_path):
    few = with_ids(stars.take(np.arange(len(stars)) < 15_000), ids(15_000))
    with pytest.raises(ValueError, match=words):
        SkyScan.create(tmp_path / "a", few, PATCHES, CONFIG)
    path = write(few, tmp_path / "stars.parquet")
    with pytest.raises(ValueError, match=words):
        SkyScan.create(tmp_path / "b", path, PATCHES, CONFIG)
    assert not (tmp_path / "b").exists()


def test_stars_that_are_seen_late_not_to_be_known_apart(stars, fake, scans, tmp_path):
    """In a second file, of which nothing is read before its patch is searched; and in a second patch."""
    folder = tmp_path / "parts"
    folder.mkdir()
    for number, part in enumerate((stars["dec"] < 15, stars["dec"] >= 15)):
        few = stars.take(part)
        write(with_ids(few, np.arange(len(few)) % (10**9 if number == 0 else 100)), folder / f"{number}.parquet")
    sky = run(folder, tmp_path / "sky", PATCHES[:1], CONFIG)
    assert sky.status.refused == 1
    assert "Expected a source_id of its own for each of" in sky._record(0)["message"]
    numbered = dict(scans)
    for number, scan in scans.items():
        members = [m.copy() for m in scan.members]
        for one in members:
            one["source_id"] = np.arange(len(one))
        numbered[number] = dataclasses.replace(scan, members=members)
    with pytest.raises(ValueError, match="Expected stars of one place for each source_id"):
        merge_scans(numbered, PATCHES)


def test_a_search_made_anew_at_the_same_path(stars, tmp_path):
    """The files that were there before are not looked for."""
    for few in (stars, stars.take(stars["ra"] < 180)):
        path = write(few, tmp_path / "stars.parquet") if not (tmp_path / "stars.parquet").exists() else None
        if path is None:
            few.write(tmp_path / "stars.parquet", overwrite=True)
        shutil.rmtree(tmp_path / "sky", ignore_errors=True)
        sky = SkyScan.create(tmp_path / "sky", tmp_path / "stars.parquet", PATCHES, CONFIG)
        assert len(sky._stars(0)) == np.count_nonzero(PATCHES[0].contains(few["ra"], few["dec"]))


def test_a_patch_reads_the_files_that_touch_it(stars, tmp_path, monkeypatch):
    folder, read = split(stars, tmp_path / "parts", "part-{}.parquet", width=5.0), []
    tables = partitions.ParquetPart.tables
    monkeypatch.setattr(partitions.ParquetPart, "tables", lambda part: read.append(part.label) or tables(part))
    sky = SkyScan.create(tmp_path / "sky", folder, [Patch(180.0, 15.0, 4.0)], CONFIG)
    read.clear()
    sky._stars(0)
    assert read == ["part-22.parquet", "part-23.parquet"]  # dec 10 to 20, of 5 to 55


def test_other_plans_are_refused(stars, fake, tmp_path):
    sky = run(stars, tmp_path / "sky", PATCHES, CONFIG)
    for change, word in (
        ({"patches": PATCHES[:2]}, "other patches"), ({"config": ScanConfig(method=None, weakest=7)}, "other config"),
        ({"fewest": 10}, "other fewest"), ({"zones": ()}, "other zones"),
        ({"stars": stars.take(stars["ra"] > 170)}, "holds a search of other stars"),
        ({"stars": redder(stars)}, "holds a search of other stars"),
    ):  # fmt: skip
        given = {"stars": stars, "directory": sky.directory, "patches": PATCHES, "config": CONFIG, **change}
        with pytest.raises(FileExistsError, match=word):
            SkyScan.create(given.pop("directory"), given.pop("stars"), **given)
    assert SkyScan.create(sky.directory, stars, PATCHES, CONFIG).status.state == "finished"
    plan = sky.directory / "plan.json"
    told = json.loads(plan.read_text())
    told["search"]["fewest"] = 5
    plan.write_text(json.dumps(told))
    with pytest.raises(ValueError, match=r"Expected a search as SkyScan.create wrote it, .* damaged or was changed"):
        SkyScan(sky.directory)
    plan.unlink()
    with pytest.raises(FileNotFoundError, match=r"Expected a search in .*, got no plan.json there"):
        SkyScan(sky.directory)


def test_what_is_finished_is_kept_for_the_same_search_alone(stars, fake, tmp_path):
    path, other = write(stars, tmp_path / "a.parquet"), write(stars.take(stars["origin"] == 0), tmp_path / "b.parquet")
    sky = run(path, tmp_path / "sky", PATCHES, CONFIG)
    fake.asked.clear()
    smaller = [dataclasses.replace(patch, radius=12.0) for patch in PATCHES]
    for change in (
        {"stars": other}, {"patches": smaller}, {"patches": PATCHES[:2]}, {"zones": ()}, {"fewest": 10},
        {"config": ScanConfig(method=None, weakest=7)},
    ):  # fmt: skip
        (sky.directory / "plan.json").unlink(missing_ok=True)
        given = {"stars": path, "patches": PATCHES, "config": CONFIG, **change}
        with pytest.raises(FileExistsError, match=r"which holds 0000.json of something else"):
            SkyScan.create(sky.directory, **given)
    assert SkyScan.create(sky.directory, path, PATCHES, CONFIG).run(client=Here()).state == "finished"
    assert fake.asked == []
    one = SkyScan.create(tmp_path / "one", other, PATCHES, CONFIG)
    for name in ("0000.json", "0000.scan.parquet"):
        (one.directory / name).write_bytes((sky.directory / name).read_bytes())
    assert (one.status.done, one.scans()) == (0, {})
    one.run(client=Here())
    assert sorted(fake.asked) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["candidates.ecsv", "0003.scan.parquet", "0000.json"])
def test_what_others_left_is_not_overwritten(name, stars, tmp_path):
    (tmp_path / name).write_text("my own work")
    with pytest.raises(FileExistsError, match=rf"got .*, which holds {name} of something else; choose another"):
        SkyScan.create(tmp_path, stars, PATCHES, CONFIG)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_stars_that_have_changed_are_refused(stars, fake, tmp_path):
    path = write(stars, tmp_path / "stars.parquet")
    sky = SkyScan.create(tmp_path / "sky", path, PATCHES, CONFIG)
    redder(stars).write(path, overwrite=True)
    with pytest.raises(ValueError, match=r"Expected the stars that the search began with, .* has changed since"):
        sky.run(client=Here())
    path.unlink()
    with pytest.raises(FileNotFoundError):
        sky.run(client=Here())


def test_what_is_no_search_is_refused(stars, tmp_path):
    where = tmp_path / "sky"
    for given, kind, words in (
        ((where, 3), TypeError, "Expected stars as a path, a Catalog or a LargeCatalog, got int"),
        ((where, tmp_path / "none.parquet"), FileNotFoundError, "Parquet"),
        ((where, stars.only(["ra", "dec"])), KeyError, "Expected columns"),
        ((where, stars, []), ValueError, "Expected 1 to 10,000 patches, got 0"),
        ((where, stars, [3]), TypeError, "Expected patches as Patch, got int"),
        ((where, stars, PATCHES, 3), TypeError, "Expected a ScanConfig, got int"),
    ):
        with pytest.raises(kind, match=words):
            SkyScan.create(*given)
    with pytest.raises(FileExistsError, match="a file; choose another"):
        SkyScan.create(write(stars, tmp_path / "a.parquet"), stars)
    with pytest.raises(ValueError, match="Expected workers as a whole number"):
        SkyScan.create(where, stars, PATCHES, CONFIG).run(workers=0)


def test_without_dask(stars, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"install clearview-galaxy\[dask\]"):
        scan_sky(stars, tmp_path / "sky", PATCHES, CONFIG)


def test_cost_is_a_line_in_the_stars():
    told = [
        {"seconds": 20 + 1e-3 * n + 30 * first, "stars": n, "memory_mb": 900 + n / 100, "first": first}
        for n, first in ((10_000, True), (20_000, True), (40_000, False), (80_000, False), (50_000, False))
    ]
    cost = cost_of(told, 200, 4, 100_000)
    assert (cost.start, cost.fixed, cost.per_star) == pytest.approx((30, 20, 1e-3))
    assert cost.hours == pytest.approx((30 + 50 * 120) / 3600)
    assert cost.memory_mb == 1700
    one = cost_of(told[2:3], 10, 10)
    assert (one.start, one.fixed, one.hours) == pytest.approx((0, 0, 60 / 3600))  # no line through one point


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_cluster_of_dask(stars, fake, tmp_path):
    """A client, a cluster as dask-jobqueue has them, and an address."""
    distributed = pytest.importorskip("distributed")
    sky = SkyScan.create(tmp_path / "sky", stars, PATCHES, CONFIG)
    with (
        distributed.LocalCluster(1, processes=False, threads_per_worker=2, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert sky.run(client=client).state == "finished"
        for given in (cluster, cluster.scheduler_address):
            sky._path(1).unlink()
            assert sky.run(client=given).state == "finished"  # and is no remembered answer
    assert sorted(fake.asked) == [0, 1, 1, 1, 2, 3, 4]


SCRIPT = """
import pickle, sys, time
from concurrent.futures import ThreadPoolExecutor
from clearview.streams import allsky, load_scan
directory, known, pause, client = sys.argv[1:]
if __name__ == "__main__":
    sky = allsky.SkyScan(directory)
    if client == "fake":
        def scan(stars, config, *, on_progress=None):
            number = [p.center for p in sky.patches].index(tuple(stars.meta["patch"]["center"]))
            time.sleep(float(pause))
            return load_scan(f"{known}/{number}.parquet")
        allsky.scan_patch = scan
    given = ThreadPoolExecutor(2) if client == "fake" else None
    print(sky.run(client=given).state, flush=True)
"""


def killed_at_random(sky, known, tmp_path, client, kills, pause=0.3):
    """Kill the whole group of processes at random, begin again, and let the last one finish."""
    (tmp_path / "script.py").write_text(SCRIPT)
    draw = random.Random()
    for kill in (*kills, None):
        process = subprocess.Popen(
            [sys.executable, str(tmp_path / "script.py"), str(sky.directory), str(known), str(pause), client],
            start_new_session=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        if kill is None:
            assert process.communicate(timeout=300)[0].split() == ["finished"]
            return
        while process.poll() is None and len(list(sky.directory.glob("*.scan.parquet"))) < kill:
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 2 * pause))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (sky.directory / "candidates.ecsv").exists() or len(sky.scans()) == len(sky.patches)


def test_killed_at_random(stars, scans, fake, tmp_path):
    """With threads and what was found before, which is quick; the next one is the same with Dask's processes."""
    (tmp_path / "known").mkdir()
    for number, scan in scans.items():
        scan.save(tmp_path / "known" / f"{number}.parquet")
    whole = run(stars, tmp_path / "whole", PATCHES, CONFIG)
    sky = SkyScan.create(tmp_path / "sky", stars, PATCHES, CONFIG)
    killed_at_random(sky, tmp_path / "known", tmp_path, "fake", [1, 3])
    assert (sky.directory / "candidates.ecsv").read_bytes() == (whole.directory / "candidates.ecsv").read_bytes()


@pytest.mark.slow
def test_killed_at_random_over_processes(stars, tmp_path):
    """Two workers over six patches, searched in earnest."""
    patches = [*PATCHES, Patch(195.0, 30.0)]
    whole = scan_sky(stars, tmp_path / "whole", patches, CONFIG, workers=2)
    assert whole.status.state == "finished"
    sky = SkyScan.create(tmp_path / "sky", stars, patches, CONFIG)
    killed_at_random(sky, tmp_path, tmp_path, "processes", [0, 1, 4], pause=1.0)
    assert (sky.directory / "candidates.ecsv").read_bytes() == (whole.directory / "candidates.ecsv").read_bytes()
    assert not list(sky.directory.glob("*.damaged*"))
    assert "0,1" in Table.read(sky.directory / "candidates.ecsv")["patches"][0]


@pytest.mark.slow
def test_own_processes_are_killed_when_cancelled(stars, tmp_path):
    sky = SkyScan.create(tmp_path / "sky", stars, PATCHES, CONFIG)
    before = set(threading.enumerate())
    assert sky.run(on_progress=lambda progress: progress.done < 1).state == "cancelled"
    until = time.monotonic() + 60
    while {t for t in threading.enumerate() if t.name == "clearview-workers"} - before:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert sky.run().state == "finished"


def test_a_worker_that_imports_the_script_begins_no_search(stars, tmp_path, monkeypatch):
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(RuntimeError, match=r"got one by a worker of it; put what runs the search in a script below if"):
        scan_sky(stars, tmp_path / "sky", PATCHES, CONFIG)
    assert not (tmp_path / "sky").exists()
    sky = SkyScan.create(tmp_path / "sky", stars, PATCHES, CONFIG)
    with pytest.raises(RuntimeError, match="got one by a worker of it"):
        sky.run()


def test_a_run_without_workers_says_so(stars, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(allsky, "PATIENCE", 0.0)
    sky = SkyScan.create(tmp_path / "sky", stars, PATCHES, CONFIG)
    with pytest.raises(RuntimeError, match="Expected workers of this run, got none of 2 that began; put what runs"):
        sky.run()


@pytest.mark.slow
def test_a_script_without_a_guard_ends_with_a_sentence(stars, tmp_path):
    sky = SkyScan.create(tmp_path / "sky", stars, PATCHES, CONFIG)
    script = tmp_path / "script.py"
    script.write_text(f"from clearview.streams.allsky import SkyScan\nSkyScan({str(sky.directory)!r}).run()\n")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=280, cwd=Path(__file__).parent.parent,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "RuntimeError: Expected workers of this run, got none of 2 that began; put what runs" in done.stderr
    assert "Expected a search by the process that began, got one by a worker of it" in done.stderr
    assert sky.status.done == 0


def test_the_command_line(stars, fake, tmp_path, capsys):
    sky = run(stars, tmp_path / "sky", PATCHES, CONFIG)
    assert allsky.main(["status", str(sky.directory)]) == 0
    out = capsys.readouterr().out
    assert "finished, 5 of 5 patches" in out
    assert "200 patches on 2 such workers" in out
    assert allsky.main(["run", str(sky.directory)]) == 0  # nothing is left to do
    assert allsky.main(["status", str(tmp_path)]) == 1
    assert "Expected a search" in capsys.readouterr().err


def test_a_plan_of_json_alone(stars, tmp_path):
    sky = SkyScan.create(tmp_path / "sky", stars, config=ScanConfig())
    assert len(sky.patches) > 50  # of the whole sky
    again = SkyScan(sky.directory)
    assert (again.patches, again.config, again.zones) == (sky.patches, sky.config, sky.zones)
    assert pickle.loads(pickle.dumps(again)).directory == sky.directory
