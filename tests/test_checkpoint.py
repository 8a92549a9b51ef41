"""A checkpoint is whole, ours, and of the right shape, or it is refused in a sentence."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from clearview.flows import CheckpointError, checkpoint, load, save
from clearview.flows.fit import Previews

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


def test_any_wrong_byte(path):
    """Whichever is changed, the file is refused, or what it gives is the same."""
    good = path.read_bytes()
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 2]) + good[place + 1 :])
        try:
            header, tree = load(path, "map", build)
        except CheckpointError:
            continue
        assert header == {"size": 3}
        np.testing.assert_array_equal(tree["a"], TREE["a"])


def test_the_last_good_of_two(path):
    def read(file):
        return load(file, "map", build)[1]["b"]

    for number in (4, 5):
        save(path, "map", {"size": 3}, {**TREE, "b": jnp.array(number)}, overwrite=True, keep=True)
    lost: list[str] = []
    assert checkpoint.last_good(path, read, lost) == 5
    path.write_bytes(path.read_bytes()[:-9])
    assert checkpoint.last_good(path, read, lost) == 4
    assert len(lost) == 1
    assert "damaged" in lost[0]
    assert not path.exists()  # it is set aside, and the next does not keep it in place of the good one
    save(path, "map", {"size": 3}, {**TREE, "b": jnp.array(6)}, overwrite=True, keep=True)
    assert checkpoint.last_good(checkpoint.before(path), read, []) == 4
    path.unlink()
    assert checkpoint.last_good(path, read, lost) == 4
    checkpoint.before(path).write_bytes(b"")
    assert checkpoint.last_good(path, read, lost) is None
    assert len(lost) == 2


@pytest.mark.parametrize("links", [True, False])
def test_there_is_a_file_at_the_path_whenever_the_program_is_killed(path, monkeypatch, links):
    """And after it, whatever was left behind, the one before is kept again."""

    def none(*_):
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr("os.link", none)
    replace, seen = type(path).replace, []

    def watched(this, target):
        replace(this, target)
        seen.append(path.exists())

    monkeypatch.setattr(type(path), "replace", watched)
    for number in (4, 5):
        save(path, "map", {"size": 3}, {**TREE, "b": jnp.array(number)}, overwrite=True, keep=True)
    assert seen == [links, True] * 2
    assert load(path, "map", build)[1]["b"] == 5
    assert load(checkpoint.before(path), "map", build)[1]["b"] == 4
    assert len(list(path.parent.iterdir())) == 2


@pytest.mark.parametrize("change", [{"version": 99}, {"kind": "stream"}])
def test_another_version_is_no_damage(path, change):
    save(path, "map", {"size": 3}, TREE, overwrite=True, keep=True)
    line, payload = path.read_bytes().split(b"\n", 1)
    other = json.dumps({**json.loads(line), **change}).encode() + b"\n" + payload
    path.write_bytes(other)
    with pytest.raises(checkpoint.OtherVersion, match=r"version 99|holds a stream"):
        checkpoint.last_good(path, lambda file: load(file, "map", build), [])
    assert path.read_bytes() == other
    assert checkpoint.before(path).exists()


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
    other = {"size": 4}
    path.write_bytes(json.dumps({**first, "header": other}).encode() + b"\n" + payload)
    with pytest.raises(CheckpointError, match="damaged"):
        load(path, "map", build)
    told = {**first, "header": other, "sha256": checkpoint._digest(other, payload)}
    path.write_bytes(json.dumps(told).encode() + b"\n" + payload)
    with pytest.raises(CheckpointError, match="shapes"):
        load(path, "map", build)
    path.write_bytes(json.dumps({**first, "version": 99}).encode() + b"\n" + payload)
    with pytest.raises(CheckpointError, match="version 99"):
        load(path, "map", build)


def test_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        load(tmp_path / "nothing", "map", build)


def test_what_prevents_a_checkpoint_ends_the_training_and_a_preview_does_not():
    def none():
        raise MemoryError("no room")

    shown = []
    Previews(shown.append, 0)(none)
    assert [type(problem) for problem in shown] == [MemoryError]
    with pytest.raises(MemoryError):
        Previews(shown.append, 0, "checkpoint", needed=True)(none)
    assert len(shown) == 1
    with pytest.raises(ValueError, match="Expected checkpoint as a number"):
        Previews(shown.append, -1, "checkpoint")
