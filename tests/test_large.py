"""Catalogues larger than memory: the same stars, cuts, maps and pictures as in memory, in little of it."""

import json
import os
import platform
import resource
import shutil
import tracemalloc
from dataclasses import dataclass, replace
from itertools import pairwise
from types import SimpleNamespace

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table

from clearview import fit_map, open_catalog, read_catalog
from clearview.catalogs import Ball, Box, Catalog, Cut, LargeCancelled, Unique, load_prepared, partitions, to_sky
from clearview.catalogs.frames import separation
from clearview.dynamics import PotentialConfig, estimate_seconds, prepare
from clearview.field import Axis
from clearview.figures import count_batches, count_field
from clearview.panels import StarsPanel
from clearview.units import Sun

SKY = ("ra", "dec", "parallax", "pmra", "pmdec", "radial_velocity")
CUTS = (Box(parallax=(0.25, None)), Ball(3.7))


@pytest.fixture(scope="module")
def sky(mock):
    """20,000 stars on the sky, as a survey has them: some lack a velocity, some have a negative parallax."""
    stars, rng = to_sky(mock), np.random.default_rng(1)
    columns = {name: stars[name].copy() for name in SKY}
    lacking = (rng.random(len(stars)) < 0.1) & (np.arange(len(stars)) > 5000)  # none at first
    columns["radial_velocity"][lacking] = np.nan
    columns["parallax"][rng.random(len(stars)) < 0.05] *= -1
    columns = {name: values * stars.unit(name) for name, values in columns.items()}
    columns["source_id"] = MaskedColumn(np.arange(len(stars)) + 2**40, mask=np.arange(len(stars)) == 15_000)
    return Catalog.from_table(Table(columns)).with_columns({}, meta={"source": "a survey"})


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Batches and chunks of which even few stars make many."""
    monkeypatch.setattr(partitions, "ROWS", 1500)
    monkeypatch.setattr(prepare, "CHUNK", 4000)


def split(stars, folder, ends=(0, 4000, 4100, 20_000), name="part-{}.parquet"):
    """The stars in files, by number."""
    folder.mkdir(exist_ok=True)
    rows = np.arange(len(stars))
    for i, (first, last) in enumerate(pairwise(ends)):
        path = folder / name.format(i + 8)  # the tenth comes after the ninth
        path.parent.mkdir(parents=True, exist_ok=True)
        stars.take((rows >= first) & (rows < last)).write(path)
    return folder


def rewrite(path, change):
    """A Parquet file with another table in it."""
    table = change(pq.read_table(path))
    pq.write_table(table, path)


def same(a, b):
    assert a.columns == b.columns
    for name in a.columns:
        assert a[name].dtype == b[name].dtype
        assert a.unit(name) == b.unit(name)
        np.testing.assert_array_equal(np.ma.getmaskarray(a[name]), np.ma.getmaskarray(b[name]))
    assert a.digest(a.columns) == b.digest(b.columns)
    assert a.report == b.report


@pytest.fixture
def large(sky, tmp_path):
    return open_catalog(split(sky, tmp_path / "parts")).to_galactocentric().select(*CUTS)


@pytest.fixture
def whole(sky, tmp_path):
    sky.write(tmp_path / "whole.parquet")
    return read_catalog(tmp_path / "whole.parquet").to_galactocentric().select(*CUTS)


def test_prepared_is_what_would_be_in_memory(large, whole, tmp_path):
    stars = large.prepare(tmp_path / "cache")
    same(stars, whole)
    assert stars.digest() == whole.digest()
    assert isinstance(stars.phase_space, np.memmap)
    assert not stars.phase_space.flags.writeable
    known = {"format": "Parquet", "name": "parts", "files": 3, "rows": 20_000}
    assert stars.meta.pop("file").items() >= known.items()
    assert {**stars.meta, "file": 0, "origin": 0} == {**whole.meta, "file": 0, "origin": 0}
    assert len(whole.report) == 4  # velocity, parallax, and two cuts
    again = load_prepared(tmp_path / "cache")
    assert again.meta == stars.meta
    same(again, stars)


def test_one_file_a_pattern_and_a_list(sky, whole, tmp_path):
    folder = split(sky, tmp_path / "parts")
    files = [folder / f"part-{i}.parquet" for i in (8, 9, 10)]
    for i, path in enumerate((tmp_path / "whole.parquet", str(folder / "*.parquet"), files)):
        large = open_catalog(path, columns=SKY)
        assert large.rows == 20_000
        stars = large.to_galactocentric().select(*CUTS).prepare(tmp_path / str(i))
        assert stars.digest() == whole.digest()
        assert stars.columns == (*SKY, "x", "y", "z", "vx", "vy", "vz")
    assert read_catalog(files[0]).meta["file"] == open_catalog(files[0]).head().meta["file"]


def test_patches_and_streams(sky, tmp_path):
    large, kwargs = open_catalog(split(sky, tmp_path / "parts")), {"reflex_distance": 8.0}
    same(large.to_patch((10.0, 20.0)).prepare(tmp_path / "a"), sky.to_patch((10.0, 20.0)))
    same(large.to_stream("GD-1", **kwargs).prepare(tmp_path / "b"), sky.to_stream("GD-1", **kwargs))
    assert "reflex_distance=8.0" in repr(large.to_stream("GD-1", **kwargs))


@pytest.mark.parametrize("center", [(0.0, 0.0), (266.0, -29.0), (120.0, 85.0), (359.0, 50.0)])
def test_stars_around_a_place(sky, tmp_path, monkeypatch, center):
    """As of all stars in memory, and files that lie elsewhere are not read."""
    apart = separation(center, sky["ra"], sky["dec"])
    order = np.argsort(sky["dec"], kind="stable")
    sorted_ = Catalog.from_pandas(sky.only(["ra", "dec", "parallax"]).to_pandas().iloc[order])
    large = open_catalog(split(sorted_, tmp_path / "parts", ends=range(0, 20_001, 1000)))
    read, tables = [], partitions.ParquetPart.tables
    monkeypatch.setattr(partitions.ParquetPart, "tables", lambda part: read.append(part.label) or tables(part))
    for radius in (5.0, 40.0):
        read.clear()
        wanted = order[apart[order] <= radius]
        np.testing.assert_array_equal(large.around(center, radius)["parallax"], sky["parallax"][wanted])
        files = np.sort(sky["dec"]).reshape(20, 1000)
        touched = np.sum((files[:, 0] <= center[1] + radius) & (files[:, -1] >= center[1] - radius))
        assert len(read) <= touched
    assert large.digest() == open_catalog(tmp_path / "parts").digest()
    assert large.digest() != open_catalog(tmp_path / "parts/part-8.parquet").digest()
    with pytest.raises(ValueError, match=r"Expected stars within 0 deg of ra, dec = .*, got none"):
        large.around(center, 0.0)


def test_bounds_in_another_unit_are_none(sky, tmp_path):
    table = Table({"ra": np.deg2rad(sky["ra"]) * u.rad, "dec": np.deg2rad(sky["dec"]) * u.rad})
    table.write(tmp_path / "a.parquet")
    large = open_catalog(tmp_path / "a.parquet", units={"ra": "rad", "dec": "rad"})
    apart = separation((200.0, 60.0), sky["ra"], sky["dec"])
    assert len(large.around((200.0, 60.0), 20.0)) == np.count_nonzero(apart <= 20)


def test_batches_are_small_and_in_order(large, whole, sky):
    batches = list(large)
    assert max(map(len, batches)) <= 1500
    np.testing.assert_array_equal(np.concatenate([b["x"] for b in batches]), whole["x"])
    assert len(large.head()) == len(batches[0])
    near = large.select(Box(source_id=(2**40 + 4000, 2**40 + 4099)))  # most batches have none of these
    assert len(near.head()) == np.count_nonzero(
        (whole["source_id"] >= 2**40 + 4000) & (whole["source_id"] < 2**40 + 4100)
    )
    with pytest.raises(ValueError, match=r"none after Box\(x=\(99, 100\)\), which removed the last 1\d,\d{3}; widen"):
        list(large.select(Box(x=(99, 100))))


@pytest.mark.parametrize(
    "potential", [None, pytest.param(PotentialConfig(stars=3000, degree=4), marks=pytest.mark.slow)]
)
def test_maps_are_the_same_from_the_disk(large, whole, tiny_config, tmp_path, potential):
    stars = large.prepare(tmp_path / "cache")
    config = replace(tiny_config, radius=3.5, potential=potential)  # some stars lie outside
    wanted = fit_map(whole, config)
    assert estimate_seconds(stars, config) == pytest.approx(estimate_seconds(whole, config))
    before = set(tmp_path.rglob("*"))
    half = fit_map(stars, config, on_progress=lambda p: p.fraction < 0.5)
    assert half.stopped == "cancelled"
    fit = fit_map(stars, resume=half)
    assert fit.complete
    assert fit.stars == wanted.stars < len(stars)
    assert fit.data_digest == wanted.data_digest
    for a, b in zip(jax.tree.leaves(fit.density), jax.tree.leaves(wanted.density), strict=True):
        np.testing.assert_array_equal(a, b)
    if potential:
        np.testing.assert_array_equal(fit.acceleration([[8.0, 0, 0.5]]), wanted.acceleration([[8.0, 0, 0.5]]))
    assert set(tmp_path.rglob("*")) == before  # what was made on the way is gone


def test_chunks_are_no_other_than_the_whole(rng, monkeypatch):
    points = rng.normal(size=(10_000, 6)).astype(np.float32)
    parts = prepare.look(prepare.parts(points))
    np.testing.assert_allclose(parts.mean, points.mean(0, float), atol=1e-6)
    np.testing.assert_allclose(parts.std, points.std(0, float), rtol=1e-6)
    np.testing.assert_array_equal(parts.spread, np.ptp(points, axis=0))
    assert len(prepare.some(points)) <= prepare.CHUNK
    monkeypatch.setattr(prepare, "CHUNK", 10_000)
    assert (prepare.look(prepare.parts(points)).mean.astype(np.float32) == points.mean(0)).all()
    assert (prepare.look(prepare.parts(points)).std.astype(np.float32) == points.std(0)).all()


def test_memory_does_not_grow(mock, tmp_path):
    peaks = []
    for times in (1, 8):
        folder = tmp_path / str(times)
        for i in range(times):
            split(mock, folder, ends=(0, 20_000), name=f"{i}-{{}}.parquet")
        large = open_catalog(folder).select(Ball(3.9))
        list(large)  # what is loaded once
        tracemalloc.start()
        try:
            stars = large.prepare(tmp_path / f"cache{times}")
            near = prepare.within(stars.phase_space, stars.sun.position, 3.0)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        assert isinstance(near, np.memmap)
        assert len(stars) > len(near) > 5000 * times
    assert peaks[1] < 1.3 * peaks[0] + 8 * 20_000  # but for a byte a star


def test_partitions_of_hats(sky, whole, tmp_path):
    folder = tmp_path / "survey"
    split(sky, folder, name="dataset/Norder=1/Dir=0/Npix={}.parquet")
    split(sky, tmp_path / "elsewhere", ends=(0, 20))
    (tmp_path / "elsewhere" / "part-8.parquet").rename(folder / "dataset" / "data_thumbnail.parquet")
    (folder / "dataset" / "_metadata").write_bytes(b"PAR1")
    (folder / "hats.properties").write_text(
        "#HATS\nobs_collection=a survey\ndataproduct_type=object\nhats_nrows=20000\n"
    )
    (folder / "partition_info.csv").write_text("Norder,Npix\n1,8\n1,9\n1,10\n")
    large = open_catalog(folder).to_galactocentric().select(*CUTS)
    stars = large.prepare(tmp_path / "cache")
    same(stars, whole)
    assert stars.meta["file"]["format"] == "HATS"
    (tmp_path / "collection.properties").write_text("hats_primary_table_url=survey\n")
    assert open_catalog(tmp_path).rows == 20_000

    gone = folder / "dataset" / "Norder=1" / "Dir=0" / "Npix=9.parquet"
    batches = iter(large)
    next(batches)
    gone.unlink()
    with pytest.raises(FileNotFoundError, match=r"Expected the Parquet file dataset/Norder=1/Dir=0/Npix=9.parquet"):
        list(batches)
    with pytest.raises(FileNotFoundError, match=r"Expected Norder=1, Npix=9 of partition_info.csv in survey"):
        open_catalog(folder)
    (folder / "partition_info.csv").unlink()
    with pytest.raises(ValueError, match=r"Expected the 20,000 rows .* in survey, got 19,900"):
        open_catalog(folder)
    (folder / "hats.properties").write_text("dataproduct_type=margin\nhats_primary_table_url=survey\n")
    with pytest.raises(ValueError, match="got one of type margin in survey"):
        open_catalog(folder)


def in_degrees(table):
    fields = [f.with_metadata({"unit": "deg"}) if f.name == "parallax" else f for f in table.schema]
    return table.cast(pa.schema(fields, metadata=table.schema.metadata))


def with_nan(table):
    values = table["x"].to_numpy().copy()
    values[7] = np.nan
    return table.set_column(table.column_names.index("x"), table.schema.field("x"), pa.array(values))


def short(path):
    path.write_bytes(path.read_bytes()[:-500])


def scrambled(path):
    data = bytearray(path.read_bytes())
    data[2000:12000] = bytes(10_000)
    path.write_bytes(bytes(data))


def with_meta(table, change):
    header = json.loads(table.schema.metadata[b"CLRVIEW"])
    change(header["meta"])
    return table.replace_schema_metadata(table.schema.metadata | {b"CLRVIEW": json.dumps(header)})


def other_sun(table):
    return with_meta(table, lambda meta: meta.update(sun=Sun(8.0).to_dict()))


BAD = {
    "truncated": (short, ValueError, r"readable Parquet file, got part-9.parquet, which could not be read"),
    "damaged": (scrambled, ValueError, r"readable Parquet file, got part-9.parquet, which could not be read"),
    "empty": (lambda path: path.write_bytes(b""), ValueError, r"readable Parquet file, got part-9.parquet"),
    "not Parquet": (lambda path: path.write_text("<?xml?>"), ValueError, r"by the name part-9.parquet, got VOTable"),
    "no vz": (
        lambda path: rewrite(path, lambda t: t.drop(["vz"])), ValueError,
        r"Expected the columns of part-8.parquet in part-9.parquet, got no vz; name",
    ),
    "more": (
        lambda path: rewrite(path, lambda t: t.append_column("age", t["x"])), ValueError,
        r"in part-9.parquet, got age; name",
    ),
    "a text": (
        lambda path: rewrite(path, lambda t: t.set_column(0, "ra", t["ra"].cast(pa.string()))), ValueError,
        r"Expected ra in part-9.parquet as in part-8.parquet, double in deg, got string; write",
    ),
    "degrees": (
        lambda path: rewrite(path, in_degrees), ValueError, r"parallax in part-9.parquet .* in mas, got .* in deg",
    ),
    "NaN": (
        lambda path: rewrite(path, with_nan), ValueError, r"In part-9.parquet: Expected finite phase space, got 1 of",
    ),
    "another Sun": (
        lambda path: rewrite(path, other_sun), ValueError, r"In part-9.parquet: Expected sun in the meta as",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_bad_files_are_refused_by_name(whole, tmp_path, fault):
    folder = split(whole, tmp_path / "parts", ends=(0, 4000, 8000, len(whole)))
    assert len(open_catalog(folder).prepare(tmp_path / "good")) == len(whole)
    spoil, kind, words = BAD[fault]
    spoil(folder / "part-9.parquet")
    with pytest.raises(kind, match=words) as caught:
        open_catalog(folder).prepare(tmp_path / "bad")
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"whole.parquet", "parts", "good"}


def test_nothing_to_open(tmp_path, whole):
    with pytest.raises(FileNotFoundError, match="Expected Parquet files, got none at"):
        open_catalog(tmp_path / "no*.parquet")
    with pytest.raises(FileNotFoundError, match="got none at"):
        open_catalog(tmp_path / "none.parquet")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileNotFoundError, match="got none at"):
        open_catalog(tmp_path / "folder")
    split(whole, tmp_path / "folder")
    for path in (tmp_path / "folder").iterdir():
        rewrite(path, lambda t: t.slice(0, 0))
    with pytest.raises(ValueError, match="at least one star, got none in folder"):
        open_catalog(tmp_path / "folder")
    with pytest.raises(KeyError, match="did you mean 'parallax'"):
        open_catalog(tmp_path / "whole.parquet", columns=["paralax"])
    with pytest.raises(KeyError, match=r"In whole.parquet: Expected columns .* got none for age"):
        open_catalog(tmp_path / "whole.parquet").prepare(tmp_path / "cache", columns=["ra", "age"])
    with pytest.raises(FileNotFoundError, match="Expected a folder to write to"):
        open_catalog(tmp_path / "whole.parquet").prepare(tmp_path / "no" / "cache")


def test_a_file_that_changes_between_passes(large, tmp_path):
    rewrite(tmp_path / "parts" / "part-10.parquet", lambda t: t.slice(1))
    with pytest.raises(ValueError, match=r"part-10.parquet as it was when the catalogue was opened, got another"):
        large.prepare(tmp_path / "cache")


def test_histories_of_files_add_up(sky, tmp_path):
    cut = sky.select(Box(ra=(100, None)))
    folder = tmp_path / "parts"
    folder.mkdir()
    for name, half in {"a": sky["dec"] < 0, "b": sky["dec"] >= 0}.items():
        sky.take(half).select(Box(ra=(100, None))).write(folder / f"{name}.parquet")
    stars = open_catalog(folder).select(Box(dec=(-30, 30))).prepare(tmp_path / "cache")
    assert stars.report == cut.select(Box(dec=(-30, 30))).report


def test_numbers_that_only_later_miss_a_value(tmp_path):
    whole = {"ra": pa.array(np.arange(4000.0)), "n": pa.array([*range(3000), None, *range(999)])}
    whole["pm"] = pa.array([*range(3500), None, *range(499)])
    fields = [pa.field("ra", pa.float64(), metadata={"unit": "deg"}), pa.field("n", pa.int64())]
    fields += [pa.field("pm", pa.int64(), metadata={"unit": "mas/yr"})]
    pq.write_table(pa.table(list(whole.values()), schema=pa.schema(fields)), tmp_path / "a.parquet")
    stars = open_catalog(tmp_path / "a.parquet").prepare(tmp_path / "cache")
    same(stars, read_catalog(tmp_path / "a.parquet"))
    assert stars["pm"].dtype == float  # it has a unit, so NaN where there is none
    assert np.ma.is_masked(stars["n"])


def test_what_batches_lack_adds_up_in_the_order_of_memory(sky, tmp_path):
    stars = sky.take(np.arange(len(sky)) < 4500)
    lacking = {name: stars[name].copy() for name in ("dec", "pmra")}
    for name, rows in {"dec": [7, 3007], "pmra": [1507, 3008, 3009]}.items():  # in the batches: one, one, both
        lacking[name][rows] = np.nan
    stars = stars.with_columns({name: values * stars.unit(name) for name, values in lacking.items()})
    folder = split(stars, tmp_path / "parts", ends=(0, 1500, 3000, 4500))
    whole = stars.to_galactocentric().select(Box(x=(7, None)))
    assert [report[0] for report in whole.report[:2]] == ["non-finite dec", "non-finite pmra"]
    large = open_catalog(folder).to_galactocentric().select(Box(x=(7, None)))
    assert large.prepare(tmp_path / "cache").report == whole.report
    twice = open_catalog(folder).to_galactocentric().to_galactocentric().to_patch((10.0, 20.0))
    assert twice.prepare(tmp_path / "twice").report == stars.to_galactocentric().report
    two = open_catalog([folder / "part-9.parquet", folder / "part-8.parquet"]).to_galactocentric()  # no batch has both
    assert two.prepare(tmp_path / "two").report == stars.take(np.arange(4500) < 3000).to_galactocentric().report
    for path in folder.iterdir():  # and as the histories of files
        part = read_catalog(path).to_galactocentric()
        part.write(path, overwrite=True)
    assert open_catalog(folder).prepare(tmp_path / "files").report == stars.to_galactocentric().report


def test_files_cut_in_other_orders(sky, tmp_path):
    cuts = Box(ra=(100, None)), Box(dec=(0, None))
    folder = split(sky, tmp_path / "parts", ends=(0, 9000, 20_000))
    for path, order in {"part-8.parquet": cuts, "part-9.parquet": cuts[::-1]}.items():
        read_catalog(folder / path).select(*order).write(folder / path, overwrite=True)
    stars = open_catalog(folder).prepare(tmp_path / "cache")
    assert [report.name for report in stars.report] == [cut.name for cut in cuts]
    assert (stars.report[0].before, stars.report[-1].after) == (20_000, len(stars))


def test_older_files_tell_no_name_of_the_same_sun(sky, tmp_path):
    whole = sky.to_galactocentric("gravity2021").to_stream("GD-1", reflex_distance=8.0)
    folder = split(whole, tmp_path / "parts", ends=(0, 4000, len(whole)))

    def older(meta):
        del meta["sun"]["name"], meta["stream"]["reflex"]["sun"]["name"]

    rewrite(folder / "part-9.parquet", lambda t: with_meta(t, older))
    stars = open_catalog(folder).prepare(tmp_path / "cache")
    assert stars.sun == whole.sun
    assert {name: stars.meta[name] for name in ("sun", "stream")} == {n: whole.meta[n] for n in ("sun", "stream")}
    rewrite(
        folder / "part-9.parquet", lambda t: with_meta(t, lambda meta: meta["stream"]["reflex"]["sun"].update(v_phi=1))
    )
    with pytest.raises(ValueError, match=r"In part-9.parquet: Expected stream in the meta as"):
        open_catalog(folder).prepare(tmp_path / "other")


class Lazy:
    """What Dask and LSDB have in common."""

    def __init__(self, frames):
        self.frames, self.columns = frames, frames[0].columns

    def __getitem__(self, names):
        return Lazy([frame[names] for frame in self.frames])

    def to_delayed(self):
        return np.array([SimpleNamespace(compute=frame.copy) for frame in self.frames])


def test_partitions_of_dask(sky, whole, tmp_path):
    rows = np.arange(len(sky)) < 9000
    frames = [sky.take(part).to_pandas() for part in (rows, ~rows)]
    assert "source_id" in frames[0]
    told = []
    large = open_catalog(Lazy(frames), columns=SKY).to_galactocentric().select(*CUTS)
    stars = large.prepare(tmp_path / "cache", on_progress=lambda *at: told.append(at))
    assert stars.digest() == whole.digest()
    assert stars.report == whole.report
    assert "source_id" not in stars
    assert told == [(0, 2), (1, 2), (2, 2)]
    with pytest.raises(FileExistsError):  # nobody knows whether it is the same
        large.prepare(tmp_path / "cache")
    frames[1] = frames[1].drop(columns="dec")
    with pytest.raises(ValueError, match=r"Expected partition 1 to be computed, got .*dec"):
        list(open_catalog(Broken(frames)))
    with pytest.raises(KeyError, match="In partition 1: Expected columns"):
        open_catalog(Lazy(frames)).prepare(tmp_path / "other")


class Broken(Lazy):
    def to_delayed(self):
        return [SimpleNamespace(compute=lambda frame=frame: frame["dec"].to_frame()) for frame in self.frames]


def test_cancelled_and_begun_again(large, whole, tmp_path):
    told = []
    with pytest.raises(LargeCancelled, match="cancelled after 5,600"):
        large.prepare(tmp_path / "cache", on_progress=lambda done, total: told.append((done, total)) or done < 5000)
    assert told[-1] == (5600, 20_000)
    assert {path.name for path in tmp_path.iterdir()} == {"whole.parquet", "parts"}
    for host, process in ((platform.node(), 999_999_999), ("elsewhere", 999_999_999), (platform.node(), os.getpid())):
        with pytest.MonkeyPatch.context() as patch:  # a run that is killed there
            patch.setattr(shutil, "rmtree", lambda *_, **__: None)
            patch.setattr(platform, "node", lambda host=host: host)
            patch.setattr(os, "getpid", lambda process=process: process)
            with pytest.raises(LargeCancelled):
                large.prepare(tmp_path / "cache", on_progress=lambda done, total: done < 5000)
    begun = []
    assert (
        large.prepare(tmp_path / "cache", on_progress=lambda *_: begun.append(set(tmp_path.glob(".*")))).digest()
        == whole.digest()
    )
    (other,) = tmp_path.glob(".*")  # another machine's may be alive
    assert "elsewhere" in other.name
    assert len(begun[0]) == 2


def test_two_runs_at_once_leave_each_other_alone(large, whole, tmp_path):
    def meanwhile(done, total):
        if done == total:
            with pytest.raises(LargeCancelled):
                large.prepare(tmp_path / "cache", on_progress=lambda *_: False)

    assert large.prepare(tmp_path / "cache", on_progress=meanwhile).digest() == whole.digest()


def test_only_the_same_is_taken_as_it_is(large, tmp_path):
    stars = large.prepare(tmp_path / "cache")
    reopened = open_catalog(tmp_path / "parts").to_galactocentric().select(*CUTS)
    with_progress = reopened.prepare(tmp_path / "cache", on_progress=lambda *_: pytest.fail("read again"))
    same(with_progress, stars)
    with pytest.raises(FileExistsError, match="which is another; name a new one"):
        large.select(Box(x=(7, 9))).prepare(tmp_path / "cache")
    large.select(Box(x=(7, 9))).prepare(tmp_path / "near")
    with pytest.raises(FileExistsError):  # though it is written the same
        large.select(Box(x=(7, 9.000000001))).prepare(tmp_path / "near")
    with pytest.raises(FileExistsError):
        large.prepare(tmp_path / "parts")
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(FileExistsError):
        large.prepare(tmp_path / "note.txt")
    assert (tmp_path / "note.txt").read_text() == "mine"
    with pytest.raises(ValueError, match=r"Expected a folder that LargeCatalog.prepare wrote"):
        load_prepared(tmp_path / "parts")


@dataclass(frozen=True)
class Mine(Cut):
    """A user's own cut, which may be edited."""

    least: float = 0.25

    def test(self, catalog):
        return Box(parallax=(self.least, None)).test(catalog)


def test_what_may_have_changed_is_not_taken_as_it_is(large, tmp_path, monkeypatch):
    for i, cut in enumerate((Mine(), Box(x=(7, 9)) & ~Mine(0.3))):
        large.select(cut).prepare(tmp_path / str(i))
        with pytest.raises(FileExistsError, match="which is another; name a new one"):
            large.select(cut).prepare(tmp_path / str(i))
    ours = large.select([Box(x=(7, 9)) & ~Box(y=(0, 1))])
    ours.prepare(tmp_path / "ours")
    ours.prepare(tmp_path / "ours", on_progress=lambda *_: pytest.fail("read again"))
    monkeypatch.setattr("clearview.__version__", "99")
    with pytest.raises(FileExistsError):
        ours.prepare(tmp_path / "ours")


@pytest.mark.parametrize("fault", ["a byte", "cut off", "gone", "objects", "no names"])
def test_damaged_columns(large, tmp_path, fault):
    folder = tmp_path / "cache"
    large.prepare(folder)
    points, header = folder / "phase_space.bin", json.loads((folder / "columns.json").read_text())
    if fault == "a byte":
        data = bytearray(points.read_bytes())
        data[5001] ^= 4
        points.write_bytes(bytes(data))
    elif fault == "cut off":
        short(points)
    elif fault == "gone":
        (folder / "3.bin").unlink()
    elif fault == "objects":  # of which numbers in a file would be addresses
        header["columns"][0]["dtype"] = "|O"
    else:
        del header["columns"][0]["name"]
    (folder / "columns.json").write_text(json.dumps(header))
    with pytest.raises(ValueError, match=r"Expected undamaged columns in .* delete it and prepare"):
        large.prepare(folder)


def test_a_changed_bit_of_any_file_is_seen(tmp_path):
    n = pa.array([*range(3000), None, *range(999)])  # of which one is masked, and one widened to a float
    fields = [pa.field("ra", pa.float64(), metadata={"unit": "deg"}), pa.field("n", pa.int64())]
    fields += [pa.field("pm", pa.int64(), metadata={"unit": "mas/yr"})]
    table = pa.table([pa.array(np.arange(4000) / 90), n, n], schema=pa.schema(fields))
    pq.write_table(table, tmp_path / "a.parquet")
    stars = open_catalog(tmp_path / "a.parquet").prepare(tmp_path / "cache")
    files = sorted(path for path in (tmp_path / "cache").iterdir() if path.suffix != ".json")
    assert [path.name for path in files] == ["0.bin", "1.bin", "1.mask", "2.f8"]
    for path in files:
        good = path.read_bytes()
        path.write_bytes(good[:999] + bytes([good[999] ^ 1]) + good[1000:])
        with pytest.raises(ValueError, match=rf"Expected undamaged columns in .*, got other .* in {path.name}; delete"):
            load_prepared(tmp_path / "cache")
        path.write_bytes(good)
    same(load_prepared(tmp_path / "cache"), stars)


def test_a_full_disk(large, whole, tiny_config, tmp_path):
    stars = large.prepare(tmp_path / "cache")
    # A limit on the size of files, which ends writing as a full disk does.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        with pytest.raises(OSError, match=r"Expected room for the columns in .*; free some"):
            large.prepare(tmp_path / "other")
        with pytest.raises(OSError, match=r"Expected room for 0 MB to learn from in .*cache"):
            fit_map(stars, replace(tiny_config, radius=3.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name for path in tmp_path.iterdir()} == {"whole.parquet", "parts", "cache"}
    assert large.prepare(tmp_path / "other").digest() == whole.digest()


def test_counts_of_batches(large, whole):
    axes = Axis("x", 4, 12, 40, "kpc"), Axis("vy", -300, 100, 30, "km/s")
    counts = count_batches(large, axes)
    assert counts.identical(count_field(whole["x"], whole["vy"], axes))
    assert counts.x.attrs["units"] == "kpc"
    assert counts.sum() > 5000
    with pytest.raises(ValueError, match="at least one batch"):
        count_batches([], axes)


def test_panels_show_what_is_on_the_disk(large, whole, tmp_path, made):
    stars = large.prepare(tmp_path / "cache")
    panel, other = (made(StarsPanel(catalog, size=200, threaded=False)) for catalog in (stars, whole))
    columns = panel.selection.columns
    assert np.shares_memory(columns["x"], stars["x"])  # none is copied
    for a, b in zip(panel.draw(panel.settings, 1.0), other.draw(other.settings, 1.0), strict=True):
        np.testing.assert_array_equal(a.dimension_values(2), b.dimension_values(2))
    panel.selection.choose(("x", "y"), [7, -1, 9, -1, 9, 1, 7, 1])
    other.selection.choose(("x", "y"), [7, -1, 9, -1, 9, 1, 7, 1])
    assert panel.selection.catalog.digest() == other.selection.catalog.digest()


def test_steps_and_units_are_told(large, tmp_path):
    assert repr(large).startswith("LargeCatalog of 20,000 stars in parts (Parquet), not in memory\n  then: to_galac")
    with pytest.raises(TypeError, match="Expected cuts"):
        large.select("x > 3").head()
    named = large.head()
    named.with_columns({"name": np.array(["a"] * len(named))}).write(tmp_path / "named.parquet")
    texts = open_catalog(tmp_path / "named.parquet")
    with pytest.raises(ValueError, match="columns of numbers to keep"):
        texts.prepare(tmp_path / "cache", columns=["name"])
    assert "name" not in texts.prepare(tmp_path / "cache")


def test_cuts_that_compare_stars_are_refused(large):
    with pytest.raises(
        ValueError,
        match=r"^Expected cuts that look at each star alone, got .*Unique.*, which compares .* prepare\(\) gives",
    ):
        large.select(Box(parallax=(0, None)) & Unique())
    with pytest.raises(ValueError, match="which compares"):
        large.select([Box(parallax=(0, None)), Unique()])
    with pytest.raises(TypeError, match=r"^Expected cuts, got 3; use"):
        large.select([Box(parallax=(0, None)), 3])


@pytest.mark.parametrize("call", [open_catalog, lambda path: open_catalog([path]), load_prepared])
def test_no_path(large, call):
    for path in (3, None):
        with pytest.raises(TypeError, match=r"^Expected a path, got (int|NoneType); pass one"):
            call(path)
        with pytest.raises(TypeError, match=r"^Expected a path, got"):
            large.prepare(path)


def test_no_box_that_has_stars_of_a_circle_is_left_out(rng):
    from clearview.catalogs.large import _meets

    ra, dec = rng.uniform(-30, 390, 20_000), np.rad2deg(np.arcsin(rng.uniform(-1, 1, 20_000)))
    boxes = (ra // 30).astype(int) * 100 + (dec // 15).astype(int)
    out = 0
    for _ in range(200):
        center, radius = (rng.uniform(0, 360), np.rad2deg(np.arcsin(rng.uniform(-1, 1)))), rng.uniform(1, 30)
        inside = separation(center, ra, dec) <= radius
        for box in np.unique(boxes):
            its = boxes == box
            meets = _meets(((ra[its].min(), ra[its].max()), (dec[its].min(), dec[its].max())), center, radius)
            assert meets or not inside[its].any()
            out += not meets
    assert out > 0.5 * 200 * len(np.unique(boxes))
