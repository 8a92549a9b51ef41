"""Kinds of bad checkpoints and bad arguments of panels: name -> the call that must be refused."""

import dataclasses
import io
import json
import pickle
from functools import lru_cache, partial

import numpy as np
from bad_arguments import CALL, ball, held, nan
from bad_files import FOREIGN, catalog, good
from fakes import FakeColumnFit, FakeFit, fake_shower_fit, few_voxels, sky_stars

import clearview as cv
from clearview.dynamics import maps
from clearview.flows import ColumnConfig, ColumnFit, ContinuousConfig, FitConfig, FlowConfig, checkpoint
from clearview.generation import default_config, fit_upsampler, load_showers, load_upsampler
from clearview.panels import Choice
from clearview.panels.view import RasterView

LOADERS = {"map": cv.load_map, "columns": cv.load_columns, "showers": load_showers, "upsampler": load_upsampler}


@lru_cache
def untrained():
    """A map as it stands before its training: whole in form."""
    config = cv.MapConfig(
        radius=4.0, positions=FlowConfig(1, 4, 1), velocities=FlowConfig(1, 4, 1), training=FitConfig(epochs=1),
        potential=cv.PotentialConfig(degree=2),
    )  # fmt: skip
    stars = ball()
    return maps._begin(stars.phase_space, config, stars.digest(), dict(stars.meta))


def columns() -> ColumnFit:
    from clearview.flows import MAF, Standardised

    config = ColumnConfig(flow=FlowConfig(1, 4, 1))
    flow = Standardised(MAF(2, None, config.flow, key=maps.random.key(0)), np.zeros(2), np.ones(2))
    return ColumnFit(("pmra", "pmdec"), ("mas / yr", "mas / yr"), config, flow, 100, "digest", "finished", "Done.")


def upsampler():
    """A flow of star particles that has taken two steps."""
    stars = ball()
    config = dataclasses.replace(
        default_config(stars), flow=ContinuousConfig(4, 1, steps=2), training=FitConfig(epochs=1, min_steps=2),
    )  # fmt: skip
    return fit_upsampler(stars, config)


@lru_cache
def saved(kind: str) -> bytes:
    """The bytes of a good checkpoint."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fit"
        if kind == "map":
            cv.save_map(untrained(), path)
        elif kind == "columns":
            cv.flows.save_columns(columns(), path)
        elif kind == "upsampler":
            upsampler().save(path)
        else:  # a student is in the file too
            fake_shower_fit(cv.mock_showers(200, geometry=few_voxels())).save(path)
        return path.read_bytes()


def rewritten(kind: str, change, payload: bytes | None = None, /, **first) -> bytes:
    """A checkpoint whose header was changed by one who knows how, with right digests."""
    line, arrays = saved(kind).split(b"\n", 1)
    told = json.loads(line)
    header = change(told["header"])
    arrays = arrays if payload is None else payload
    told |= dict(header=header, size=len(arrays), sha256=checkpoint._digest(header, arrays))
    return json.dumps(told | first).encode() + b"\n" + arrays


def loading(kind: str, content, name="fit.clearview"):
    """The loading of such a checkpoint; ``content`` may be made when it is called."""

    def call():
        with open(name, "wb") as file:
            file.write(content() if callable(content) else content)
        return LOADERS[kind](name)

    return call


def at(path: str, value):
    """Changes one value of a header."""

    def change(header):
        inner, (*way, last) = header, path.split(".")
        for name in way:
            inner = inner[name]
        if value is KeyError:
            del inner[last]
        else:
            inner[last] = value
        return header

    return change


def npy(array, **how) -> bytes:
    out = io.BytesIO()
    np.save(out, array, **how)
    return out.getvalue()


class Bomb:
    """What a pickle of it does when it is opened."""

    def __reduce__(self):
        return open, ("ran", "w")


HOSTILE = {
    "a pickle": pickle.dumps(Bomb()), "objects in .npy": npy(np.array([Bomb()], object), allow_pickle=True),
    "a .npz": FOREIGN["a zip archive"], "an array of 8 TB": npy(np.zeros(1)).replace(b"(1,)  ", b"(10**12,)"),
    "an array of 8 GB": npy(np.zeros(1)).replace(b"(1,), }          ", b"(1000000000,), }"),
    "nothing": b"", "other shapes": npy(np.zeros(7)), "other types": npy(np.array(["a"])),
}  # fmt: skip

KINDS = {}
for _kind in LOADERS:
    for _what, _bytes in FOREIGN.items():
        KINDS[f"load_{_kind}: {_what}"] = loading(_kind, _bytes)
    for _ending in ("parquet", "fits", "h5"):
        KINDS[f"load_{_kind}: a catalogue as {_ending}"] = loading(_kind, lambda e=_ending: good(e))
    for _share in (0.0, 0.1, 0.5, 0.9, 0.999):
        KINDS[f"load_{_kind}: cut at {_share:.1%}"] = loading(
            _kind, lambda k=_kind, s=_share: saved(k)[: int(s * len(saved(k)))]
        )
    for _what, _payload in HOSTILE.items():
        KINDS[f"load_{_kind}: arrays that are {_what}"] = loading(
            _kind, lambda k=_kind, p=_payload: rewritten(k, lambda h: h, p)
        )
    for _path, _values in {
        "config": (KeyError, None, 5, "x", [], {}), "message": (KeyError, 5, None, ["<script>"]),
        "stopped": (KeyError, 5, "preview", "gone", CALL), "stars": (KeyError, "5", -1, 1.5, None, True),
        "data_digest": (KeyError, 5, None), "source": (KeyError, 5, [], "x"),
        "history": (KeyError, 5, [], {}, {"stage": [1]}, {"stage": ["a"], "step": [0], "train": ["x"],
            "validation": [0]}),
        "config.seed": ("0", -1, nan, 2**40), **({"unfinished": (KeyError,), "config.training": (5, {"epochs": "x"},
            {"q": 1})} if _kind != "showers" else {}),
    }.items():  # fmt: skip
        for _value in _values:
            KINDS[f"load_{_kind}: {_path}={_value!r}"] = loading(
                _kind, lambda k=_kind, p=_path, v=_value: rewritten(k, at(p, v))
            )
    for _name, _value in {"version": 1, "kind": "galaxy", "format": "other", "size": "x", "sha256": 5}.items():
        KINDS[f"load_{_kind}: {_name}={_value!r}"] = loading(
            _kind, lambda k=_kind, n=_name, v=_value: rewritten(k, lambda h: h, **{n: v})
        )
    KINDS |= {
        f"load_{_kind}: a header of lists without end": loading(_kind, b"[" * 200_000),
        f"load_{_kind}: a header that is a list": loading(_kind, lambda k=_kind: rewritten(k, lambda h: [1, 2])),
        f"load_{_kind}: a header that is None": loading(_kind, lambda k=_kind: rewritten(k, lambda h: None)),
        f"load_{_kind}: a changed header": loading(
            _kind, lambda k=_kind: saved(k).replace(b'"stars": ', b'"stars": 1', 1)
        ),
        f"load_{_kind}: the other kind": loading(_kind, lambda k=_kind: saved("columns" if k == "map" else "map")),
    }
for _part, _sizes in {
    "positions": ({"layers": 10**9}, {"width": 10**9}, {"depth": 10**9}, {"layers": 1000, "width": 10**4},
        {"layers": 2},
                  {"width": "4"}, {"bins": 10**9, "transform": "spline"}, {"transform": CALL}),
    "potential": ({"degree": 10**9}, {"degree": 40}, {"symmetry": 5}, {"stars": -1}),
}.items():  # fmt: skip
    for _size in _sizes:
        KINDS[f"load_map: {_part} of {_size}"] = loading("map", lambda p=_part, s=_size: rewritten("map", lambda h: {
            **h, "config": {**h["config"], p: {**h["config"][p], **s}}}))  # fmt: skip
KINDS |= {
    f"load_map: {path}={value!r}": loading("map", lambda p=path, v=value: rewritten("map", at(p, v)))
    for path, values in {
        "radius": (KeyError, "4", -1, 0, nan, None), "stage": (KeyError, "3", -1, 4, 1.5, None),
        "config.center": ([1], "abc", None), "config.radius": ("x", -1), "config.positions": (None, KeyError),
    }.items()
    for value in values
}  # fmt: skip
KINDS |= {
    f"load_columns: {path}={str(value)[:30]}": loading("columns", lambda p=path, v=value: rewritten("columns", at(p,
        v)))
    for path, values in {
        "columns": (KeyError, [], 5, "ab", [1, 2], ["a"], ["a"] * 10**5), "units": (KeyError, [], 5, "ab", [1, 2],
            ["a"]),
        "config.flow": (None, {"layers": 10**9}, {"width": 10**9}),
    }.items()
    for value in values
}  # fmt: skip
KINDS |= {
    f"load_showers: {path}={str(value)[:30]}": loading("showers", lambda p=path, v=value: rewritten("showers", at(p,
        v)))
    for path, values in {
        "energies": (KeyError, [], 5, [1.0], ["a", 2.0], [-1.0, 5.0], [nan, 5.0], [9.0, 5.0]),
        "threshold": (KeyError, 0, -1, "x", nan), "seconds": (KeyError, -1, "x"),
        "geometry": (KeyError, 5, {}, {"name": "a", "layers": []}), "geometry.layers": (5, [5], [{"number": 1}]),
        "geometry.name": (KeyError, 5), "config.voxels": (None, {"layers": 10**9}, {"width": 10**9}),
        "config.student": (5, {"width": 0}, {"width": 10**9}),
    }.items()
    for value in values
}  # fmt: skip

# ---- panels ----------------------------------------------------------------------------------------------------------

_plain = {"threaded": False, "size": 64}


def panel(name: str, *args, **kwargs):
    return lambda: getattr(cv, name)(*args, **{**_plain, **kwargs})


def closing(make):
    return lambda: make().close()


PANELS = {
    "a panel of a table": panel("AccelerationPanel", {"x": [1]}), "a panel of a path": panel("StarsPanel",
        "stars.parquet"),
    "a panel of a number": panel("PhaseSpacePanel", 5), "a panel and a path for a fit": panel("AccelerationPanel",
        fit="x"),
    "a panel of a fit of columns": lambda: cv.AccelerationPanel(
        sky_stars(50), FakeColumnFit.of(sky_stars(500), ("pm_phi1", "pm_phi2")), **_plain),
    "DensityPanel of text": panel("DensityPanel", "x"), "DustPanel of text": panel("DustPanel", "x"),
    "ProfilePanel of text": panel("ProfilePanel", "x"), "ExcessPanel of text": panel("ExcessPanel", "x"),
    "StreamPanel of text": panel("StreamPanel", "x"), "StreamPanel of a strip": panel("StreamPanel", sky_stars(50)),
    **{f"StreamPanel({k}={v!r})": panel("StreamPanel", **{k: v}) for k, v in (
        ("config", 5), ("config", "x"), ("scan", 5), ("selection", 5), ("size", -5))},
    "ExcessPanel of an unknown stream": lambda: cv.ExcessPanel(catalog(), stream="nope", **_plain),
    "ExcessPanel of a hostile stream": lambda: cv.ExcessPanel(catalog(), stream=CALL, **_plain),
    "ExcessPanel with reflex_distance=-1": lambda: cv.ExcessPanel(catalog(), reflex_distance=-1, **_plain),
    **{f"{name}(size={size!r})": panel(name, sky_stars(50), size=size)
       for name in ("StarsPanel", "PhaseSpacePanel", "AccelerationPanel") for size in (0, -5, "64", nan, 10**9)},
    **{f"StarsPanel(views={views!r})": panel("StarsPanel", sky_stars(50), views=views) for views in (
        [], 5, "ab", [("phi1",)], [("phi1", "nope")], [("phi1", 5)], [5], [("<img onerror=alert(1)>", "phi1")])},
    **{f"PhaseSpacePanel({k}={v!r})": panel("PhaseSpacePanel", sky_stars(50), **{k: v}) for k, v in (
        ("x", "nope"), ("y", 5), ("x", CALL), ("first", "nope"), ("first", ("phi1",  1.0)), ("first", 5),
        ("first", ("phi1", "a", "b")), ("first", ("phi1", nan, 1.0)), ("second", ("phi1", 0.0, -1.0)), ("learn",
            "nope"),
        ("learn", 5), ("learn", ("nope",)), ("config", 5), ("selection", 5))},
    **{f"AccelerationPanel(config={v!r})": panel("AccelerationPanel", ball(), config=v) for v in (5, "x",
        {"radius": 4})},
    "AccelerationPanel(pulsars=5)": panel("AccelerationPanel", ball(), pulsars=5),
    **{f"AccelerationPanel.set({k}={v!r})": closing(held(lambda p, k=k, v=v: p.set(**{k: v}), panel(
        "AccelerationPanel", ball()))) for k, v in (("nope", 1), ("plane", "q"), ("plane", 5), ("z", "a"), ("z", 99.0),
                                                    ("z", nan), ("component", CALL), ("arrows", "x"))},
    **{f"RasterView.{k}={v!r}": lambda k=k, v=v: setattr(RasterView(64), k, v) for k, v in (
        ("selection", {"kind": "box"}), ("selection", {"kind": "x", "xy": [0] * 6}), ("selection", {"kind": "box",
            "xy": "abc"}),
        ("selection", {"kind": "box", "xy": [nan] * 6}), ("cursor", [1]), ("cursor", [nan, 1]), ("cursor", ["a",
            "b"]))},
    "RasterView(0)": lambda: RasterView(0), "RasterView('64')": lambda: RasterView("64"),
    "Choice of another": lambda: Choice(("a", "b"), "c"),
    **{f"explore({what})": partial(cv.explore, *given, threaded=False) for what, given in {
        "nothing": (None,), "a number": (5,), "no such file": ("none.parquet",), "no such map": ("none.clearview",),
        "another ending": ("a.txt",), "a hostile name": ("$(touch ran).parquet",),
            "a URL": ("http://localhost/a.parquet",),
        "two catalogues": (sky_stars(50), sky_stars(50)), "two maps": (FakeFit("x"), FakeFit("x")),
        "a dict": ({"data_digest": 1},),
    }.items()},
    "explore(a pickle as a map)": lambda: _pickled("p.clearview") or cv.explore("p.clearview", threaded=False),
}  # fmt: skip
KINDS |= PANELS


def _pickled(name: str) -> None:
    with open(name, "wb") as file:
        file.write(HOSTILE["a pickle"])
