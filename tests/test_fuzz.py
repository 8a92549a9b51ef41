"""Bad input of every kind is refused by one sentence, before long work, and nothing is written.

What cannot be told: text that was cut between two rows or had a digit changed (CSV, ECSV), a changed value in FITS,
HDF5 and VOTable, which carry no checksum, words for numbers in a VOTable, which astropy reads as missing, and a changed
name of a column. Parquet of ours has checksums of its pages, and a checkpoint one of all of it.
"""

import json
import re
from importlib import import_module
from pathlib import Path

import bad_arguments
import bad_catalogs
import bad_checkpoints
import bad_configs
import bad_files
import bad_fits
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import files, nothing_runs, verdict

import clearview as cv
from clearview.catalogs import read_catalog
from clearview.dynamics import EfficiencyConfig
from clearview.flows import ColumnConfig, FitConfig, FlowConfig

_TABLES = bad_arguments, bad_configs, bad_catalogs, bad_fits, bad_checkpoints
CALLS = {name: call for table in _TABLES for name, call in table.KINDS.items()}
WRITTEN = {"s.h5", "fit.clearview", "p.clearview", "ran.lock"}
"""Bad files that the kinds themselves lay down."""

settings.register_profile("stable", derandomize=True, deadline=None, database=None, max_examples=60,
                          suppress_health_check=list(HealthCheck))  # fmt: skip
STABLE = settings.get_profile("stable")


@pytest.fixture(autouse=True)
def at_once(tmp_path, monkeypatch):
    """In an empty folder, and nothing long may begin."""

    def never(*args, **kwargs):
        raise AssertionError("long work has begun")

    for ending in (*bad_files.FORMATS, "csv"):  # made once, and not watched
        bad_files.good(ending)
    for kind in bad_checkpoints.LOADERS:
        bad_checkpoints.saved(kind)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(import_module("clearview.flows.fit"), "optimise", never)
    monkeypatch.setattr(import_module("clearview.mocks.galaxy"), "_draw", never)
    monkeypatch.setattr(import_module("clearview.mocks.disturbed"), "_snapshots", never)
    with nothing_runs(tmp_path):
        yield


def first_word(name: str) -> str:
    return re.split(r"[(.:= ]", name)[0]


def groups(kinds) -> list[str]:
    """The first words of the kinds."""
    return sorted({first_word(name) for name in kinds})


def of_group(kinds, group: str) -> dict:
    return {name: kind for name, kind in kinds.items() if first_word(name) == group}


def test_there_are_enough_kinds():
    assert len(bad_files.KINDS) >= 200
    assert len(bad_files.KINDS) + len(CALLS) >= 1800  # as the changelog says
    assert not set(bad_files.KINDS) & set(CALLS)


@pytest.mark.parametrize("group", groups(bad_files.KINDS))
def test_bad_file(group, tmp_path):
    found = {}
    for number, (name, make) in enumerate(of_group(bad_files.KINDS, group).items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        act, before = make(folder), files(tmp_path)
        found[name] = verdict(act) or ("" if files(tmp_path) == before else "something was written")
    assert not (wrong := {name: why for name, why in found.items() if why}), wrong


@pytest.mark.parametrize("group", groups(CALLS))
def test_bad_call(group, tmp_path):
    found = {name: verdict(act) for name, act in of_group(CALLS, group).items()}
    assert not (wrong := {name: why for name, why in found.items() if why}), wrong
    left = [path for path, content in files(tmp_path).items() if content != b"mine" and Path(path).name not in WRITTEN]
    assert not left


def test_a_good_file_and_checkpoint_are_none_of_them(tmp_path):
    for ending in bad_files.FORMATS:
        assert read_catalog(written(tmp_path / f"a.{ending}", bad_files.good(ending))).columns
    assert cv.load_map(written(tmp_path / "map", bad_checkpoints.saved("map"))).stars > 1000
    assert cv.load_columns(written(tmp_path / "columns", bad_checkpoints.saved("columns"))).columns == ("pmra", "pmdec")
    same = written(tmp_path / "same", bad_checkpoints.rewritten("map", lambda header: header))
    assert cv.load_map(same).stopped == "cancelled"


# ---- by chance -------------------------------------------------------------------------------------------------------


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def damaged(content: bytes):
    """The content with some bytes changed, taken out, put in, or cut off."""
    place = st.integers(0, len(content) - 1)
    change = st.one_of(
        st.tuples(st.just("flip"), place, st.integers(0, 7)), st.tuples(st.just("set"), place, st.binary(min_size=1,
            max_size=8)),
        st.tuples(st.just("cut"), place, st.just(0)), st.tuples(st.just("drop"), place, st.integers(1, 64)),
        st.tuples(st.just("add"), place, st.binary(min_size=1, max_size=64)),
    )  # fmt: skip

    def apply(changes) -> bytes:
        data = bytearray(content)
        for what, at, how in changes:
            if what == "flip" and at < len(data):
                data[at] ^= 1 << how
            elif what == "set":
                data[at : at + len(how)] = how
            elif what == "cut":
                del data[at:]
            elif what == "drop":
                del data[at : at + how]
            elif what == "add":
                data[at:at] = how
        return bytes(data)

    return st.lists(change, min_size=1, max_size=3).map(apply)


def refused_or(act, check) -> None:
    """``check`` gets what ``act`` gives, if it is not refused as it should be."""
    found = []
    why = verdict(lambda: found.append(act()))
    if found:
        check(found[0])
    else:
        assert not why, why


def is_the_truth(stars) -> None:
    truth = bad_files.catalog()
    for name in set(stars.columns) & set(truth.columns):
        np.testing.assert_array_equal(stars[name], truth[name])


@pytest.mark.parametrize("ending", [*bad_files.FORMATS, "csv"])
def test_a_damaged_file_is_refused_or_read(ending, tmp_path):
    """With checksums (Parquet) never as other values."""

    @STABLE
    @given(st.one_of(damaged(bad_files.good(ending)), st.binary(max_size=200)))
    def run(content):
        path = written(tmp_path / f"a.{ending}", content)
        refused_or(lambda: read_catalog(path, units="gaia"), is_the_truth if ending == "parquet" else repr)

    run()


@pytest.mark.parametrize("kind", bad_checkpoints.LOADERS)
def test_a_damaged_checkpoint_is_refused_or_the_same(kind, tmp_path):
    good, load = bad_checkpoints.saved(kind), bad_checkpoints.LOADERS[kind]
    truth = load(written(tmp_path / "good", good))

    def same(fit):
        assert (fit.config, fit.stars, fit.data_digest, fit.message) == (
            truth.config, truth.stars, truth.data_digest, truth.message
        )  # fmt: skip
        assert fit.source == truth.source

    @STABLE
    @given(
        st.one_of(damaged(good), damaged(good[: good.index(b"\n")]).map(lambda line: line + good[good.index(b"\n") :]))
    )
    def run(content):
        refused_or(lambda: load(written(tmp_path / "fit", content)), same)

    run()


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=8,
)  # fmt: skip


@pytest.mark.parametrize("config", [cv.MapConfig, ColumnConfig])
def test_a_config_from_anything_is_refused_or_whole(config):
    plain = config().to_dict()
    names = sorted({*plain, *(name for part in plain.values() if isinstance(part, dict) for name in part)})

    @STABLE
    @given(st.dictionaries(st.sampled_from(names), JSONISH, max_size=3), st.sampled_from(["", *plain]), JSONISH)
    def run(values, part, anything):
        refused_or(lambda: config.from_dict(anything), lambda made: made)
        inner = plain.get(part)
        changed = {**plain, part: {**inner, **values}} if isinstance(inner, dict) else {**plain, **values}
        refused_or(lambda: config.from_dict(changed), lambda made: json.dumps(made.to_dict(), allow_nan=False))

    run()


@pytest.mark.parametrize("config", [FlowConfig, FitConfig, cv.PotentialConfig, EfficiencyConfig])
def test_a_config_of_anything_is_refused_or_finite(config):
    names = sorted(config.__dataclass_fields__)

    @STABLE
    @given(st.dictionaries(st.sampled_from(names), JSONISH, min_size=1, max_size=2))
    def run(values):
        refused_or(lambda: config(**values), lambda made: made)

    run()
