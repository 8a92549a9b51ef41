"""Kinds of bad configs and Gaia samples: name -> the call that must be refused."""

import dataclasses
from functools import partial

from bad_arguments import CALL, INJECTION, inf, nan, written

import clearview as cv
from clearview.dynamics import (
    EfficiencyConfig,
)
from clearview.flows import ColumnConfig, FitConfig, FlowConfig, ScoreConfig

KINDS = {}

# ---- configs: every field with what it cannot be ---------------------------------------------------------------------

TEXTS = ("nonsense", 5, None, nan, True, ["affine"], b"affine", CALL)
WHOLE = ("3", 2.5, nan, inf, -1, True, [3], 1j, 10**9, 10**400)
REAL = ("0.5", nan, inf, -inf, -1.0, True, None, [0.5], 1j, CALL)
PARTS = (5, "x", {}, [], True, FlowConfig)
OPTIONAL = {("MapConfig", "radius"), ("FitConfig", "patience"), ("MapConfig", "potential")}
FINE = {
    ("FitConfig", "epochs"): {10**9}, ("FitConfig", "min_steps"): {10**9}, ("FitConfig", "batch_size"): {10**9},
    ("FitConfig", "patience"): {10**9}, ("PotentialConfig", "stars"): {10**9}, ("EfficiencyConfig", "stars"): {10**9},
    ("MapConfig", "seed"): {10**9}, ("ColumnConfig", "seed"): {10**9},
}  # fmt: skip
"""Values of the tables that these fields may well have."""

CONFIGS = (FlowConfig, FitConfig, cv.PotentialConfig, cv.MapConfig, ColumnConfig, ScoreConfig, EfficiencyConfig)
for _config in CONFIGS:
    for _field in dataclasses.fields(_config):
        _name, _default = _field.name, getattr(_config(), _field.name)
        _bad = (
            PARTS if dataclasses.is_dataclass(_default) else TEXTS if isinstance(_default, str)
            else (5, "abc", [nan] * 3, [1, 2], None, [inf, 0, 0], ["a", "b", "c"], [True] * 3, [1e300] * 3)
            if _name == "center" else ("nonsense", 5, ("nonsense",), [5], {"axisymmetric": 1}.values(), CALL)
            if _name == "symmetry" else WHOLE if _field.type in (int, int | None) else REAL
        )  # fmt: skip
        for _value in _bad:
            if (_value is None and (_config.__name__, _name) in OPTIONAL) or any(
                _value is v or _value == v for v in FINE.get((_config.__name__, _name), ())
            ):
                continue
            KINDS[f"{_config.__name__}({_name}={str(_value)[:40]!r} of {type(_value).__name__})"] = partial(
                _config, **{_name: _value}
            )
KINDS |= {
    f"FlowConfig({', '.join(f'{k}={v}' for k, v in sizes.items())})": partial(FlowConfig, **sizes)
    for sizes in (
        dict(layers=0), dict(width=0), dict(depth=0), dict(layers=10**9), dict(width=10**6, depth=100),
        dict(layers=1000, width=10**4), dict(transform="spline", bins=1), dict(transform="spline", bins=101),
        dict(transform="spline", reach=0.0),
    )
}  # fmt: skip
KINDS |= {
    f"{config.__name__}({', '.join(f'{k}={v}' for k, v in told.items())})": partial(config, **told)
    for config, told in (
        (FitConfig, dict(learning_rate=0.0)), (FitConfig, dict(b2=1.0)), (FitConfig, dict(validation=1.0)),
        (FitConfig, dict(average=1.0)), (FitConfig, dict(patience=0)), (FitConfig, dict(patience=2, validation=0.0)),
        (FitConfig, dict(epochs=0)), (FitConfig, dict(batch_size=0)), (cv.PotentialConfig, dict(degree=0)),
        (cv.PotentialConfig, dict(degree=41)), (cv.PotentialConfig, dict(edge=0.0)), (cv.PotentialConfig,
            dict(edge=1.1)),
        (cv.PotentialConfig, dict(stars=0)), (cv.PotentialConfig, dict(horizontal=0.5)),
        (cv.PotentialConfig, dict(length=0.0)), (cv.MapConfig, dict(radius=0.0)), (cv.MapConfig, dict(seed=2**32)),
        (EfficiencyConfig, dict(veil=0.0)), (ScoreConfig, dict(noise=0.0)),
    )
}  # fmt: skip
for _config in (cv.MapConfig, ColumnConfig):
    _whole = _config().to_dict()
    _part = next(name for name, value in _whole.items() if isinstance(value, dict))
    for _what, _values in {
        "nothing": None, "a number": 5, "text": "x", "a list": [], "pairs": [["seed", 1]], "an empty dict": {},
        "a part missing": {k: v for k, v in _whole.items() if k != _part},
        "an unknown key": {**_whole, "nope": 1}, "a key that is no text": {**_whole, 5: 1},
        "an unknown key in a part": {**_whole, _part: {**_whole[_part], "nope": 1}},
        "a part that is a list": {**_whole, _part: [1]}, "a part that is None": {**_whole, _part: None},
        "a wrong value in a part": {**_whole, _part: {**_whole[_part], next(iter(_whole[_part])): "x"}},
        "dunder keys": {**_whole, "__class__": "os.system"},
    }.items():  # fmt: skip
        KINDS[f"{_config.__name__}.from_dict of {_what}"] = partial(_config.from_dict, _values)

# ---- Gaia ------------------------------------------------------------------------------------------------------------

_patch = dict(ra=10.0, dec=5.0, radius=1.0)
for _name in ("radius", "g_max", "parallax_snr", "ruwe"):
    for _value in ("4", INJECTION, nan, inf, -1, True, [4], 1j, 10**9, CALL):
        KINDS[f"GaiaBall({_name}={_value!r})"] = partial(cv.GaiaBall, **{_name: _value})
for _name in ("ra", "dec", "radius", "parallax_max", "g_max"):
    for _value in ("4", INJECTION, nan, -inf, True, [4], 1000.5 if _name == "parallax_max" else 400.0):
        KINDS[f"GaiaPatch({_name}={_value!r})"] = partial(cv.GaiaPatch, **{**_patch, _name: _value})
for _name in ("radial_velocity", "distances", "zero_point"):
    for _value in (1, "True", None, INJECTION):
        KINDS[f"GaiaBall({_name}={_value!r})"] = partial(cv.GaiaBall, **{_name: _value})
_query = partial(cv.query_gaia, cv.GaiaBall())
KINDS |= {
    f"query_gaia({what})": call
    for what, call in {
        "a sample of text": partial(cv.query_gaia, INJECTION, "a.parquet"),
        "a class for a sample": partial(cv.query_gaia, cv.GaiaBall, "a.parquet"),
        "another ending": partial(_query, "a.csv"),
        "no folder": partial(_query, "none/a.parquet"),
        "no path": partial(_query, None),
        "a number for a path": partial(_query, 5),
        "columns of ADQL": partial(_query, "a.parquet", columns=[f"ra FROM x; {INJECTION}"]),
        "unknown columns": partial(_query, "a.parquet", columns=["nope"]),
        "columns of numbers": partial(_query, "a.parquet", columns=[5]),
        "a number for columns": partial(_query, "a.parquet", columns=5),
        "a file of another kind there": lambda: written("there.parquet") or _query("there.parquet"),
        **{f"chunk_rows={v!r}": partial(_query, "a.parquet", chunk_rows=v) for v in (0, "1", nan, 10**8, True, None)},
        **{f"timeout={v!r}": partial(_query, "a.parquet", timeout=v) for v in (0, "1", nan, inf, None)},
        **{f"retries={v!r}": partial(_query, "a.parquet", retries=v) for v in (-1, "1", nan, 10**6)},
        **{f"server={v!r}": partial(_query, "a.parquet", server=v) for v in (
            5, None, "", "file:///etc/passwd", "gopher://x", "localhost:80", "javascript:alert(1)"
        )},
    }.items()
}  # fmt: skip
