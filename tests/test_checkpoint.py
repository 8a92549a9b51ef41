"""A checkpoint is whole, ours, and of the right shape, or it is refused in a sentence."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from clearview.flows import CheckpointError, load, save

TREE = {"a": jnp.arange(6.0).reshape(2, 3), "b": jnp.array(3)}


@pytest.fixture
def path(tmp_path):
    return save(tmp_path / "checkpoint", "map", {"size": 3}, TREE)


def build(header):
    return {"a": jnp.zeros((2, header["size"])), "b": jnp.array(0)}


def test_round_trip(path):
    header, tree = load(path, "map", build)
    assert header == {"size": 3}
    for name, value in TREE.items():
        np.testing.assert_array_equal(tree[name], value)


def test_never_overwrites_in_silence(path):
    with pytest.raises(FileExistsError, match="overwrite=True"):
        save(path, "map", {}, TREE)
    save(path, "map", {"size": 3}, {**TREE, "b": jnp.array(9)}, overwrite=True)
    assert load(path, "map", build)[1]["b"] == 9
    assert [p.name for p in path.parent.iterdir()] == ["checkpoint"]  # no half-written file is left


def test_a_failed_write_leaves_the_old_file(path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda fd: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save(path, "map", {}, TREE, overwrite=True)
    assert load(path, "map", build)[0] == {"size": 3}
    assert len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize("keep", [0, 10, 200, -1])
def test_truncated(path, keep):
    data = path.read_bytes()
    path.write_bytes(data[:keep])
    with pytest.raises(CheckpointError, match=r"damaged|some other file"):
        load(path, "map", build)


def test_one_wrong_byte(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        load(path, "map", build)


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"{}\n", b'"clearview"\n', b"[1]\n", b"x,y\n1,2\n"])
def test_foreign(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(CheckpointError, match="some other file"):
        load(tmp_path / "file", "map", build)


def test_other_version_kind_and_shape(path):
    line, payload = path.read_bytes().split(b"\n", 1)
    first = json.loads(line)
    with pytest.raises(CheckpointError, match="holds a map"):
        load(path, "stream", build)
    path.write_bytes(json.dumps({**first, "header": {"size": 4}, "header_sha256": None}).encode() + b"\n" + payload)
    with pytest.raises(CheckpointError, match="shapes"):
        load(path, "map", build)
    path.write_bytes(json.dumps({**first, "version": 99}).encode() + b"\n" + payload)
    with pytest.raises(CheckpointError, match="version 99"):
        load(path, "map", build)


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        load(tmp_path / "nothing", "map", build)
