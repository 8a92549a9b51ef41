"""What is refused in a sentence before it does harm: numbers, names, paths, and configs from plain values."""

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import numpy as np

T = TypeVar("T")

MOST = sys.float_info.max
ABOVE_0, BELOW_1 = sys.float_info.min, float(np.nextafter(1, 0))
"""Bounds of what has to be above 0, or below 1."""

SEEDS = (0, 2**32 - 1)
"""Of larger ones JAX would forget the upper bits in silence."""


def shown(value: Any) -> str:
    """A value as a sentence has room for it."""
    text = " ".join(repr(value).split()) if not isinstance(value, int) or abs(value) < 10**80 else "a huge number"
    return text if len(text) < 80 else f"{text[:77]}..."


def number(
    name: str, value: Any, low: float = -MOST, high: float = MOST, *, whole: bool = False, optional: bool = False
) -> Any:
    """The value as a plain number, both bounds included.

    Raises:
        ValueError: if it is no number (as text, truth values and NaN are none), infinite, or beyond the bounds.
    """
    if value is None and optional:
        return None
    # NumPy's scalars and arrays without axes, those of JAX and xarray too.
    given: Any = value
    plain: Any = given.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value
    kind: Any = Integral if whole else Real
    if isinstance(plain, kind) and not isinstance(plain, bool) and max(low, -MOST) <= plain <= min(high, MOST):
        return plain
    least = "above 0" if low == ABOVE_0 else f"from {low:g}" if high < MOST else f"of at least {low:g}"
    most = "" if high >= MOST else " to below 1" if high == BELOW_1 else f" to {high:g}"
    bounds = f"number {least}{most}" if low > -MOST or most else "finite number"
    raise ValueError(
        f"Expected {name} as a {'whole ' if whole else ''}{bounds}{' or None' if optional else ''}, got "
        f"{shown(value)}; correct it."
    )


def numbers(config: Any, *, whole: bool = False, optional: bool = False, **bounds: tuple[float, float]) -> None:
    """Every one of these fields of a frozen dataclass is a `number` within its bounds."""
    for name, (low, high) in bounds.items():
        checked = number(name, getattr(config, name), low, high, whole=whole, optional=optional)
        object.__setattr__(config, name, checked)


def a(value: Any, kind: type[T] | tuple[type, ...], words: str) -> Any:
    """The value, if it is of that kind.

    Raises:
        TypeError: if it is not.
    """
    if not isinstance(value, kind):
        raise TypeError(f"Expected {words}, got {type(value).__name__}; pass one.")
    return value


def has(value: Any, words: str, *methods: str) -> None:
    """Refuse what does not have these methods.

    Raises:
        TypeError: if one is missing.
    """
    if isinstance(value, type) or not all(callable(getattr(value, method, None)) for method in methods):
        raise TypeError(f"Expected {words}, got {type(value).__name__}; pass what has {', '.join(methods)}.")


def triple(name: str, values: Any) -> tuple[float, float, float]:
    """Three finite numbers.

    Raises:
        ValueError: if they are not.
    """
    found = tuple(values) if isinstance(values, Iterable) else ()
    if len(found) != 3:
        raise ValueError(f"Expected {name} as (x, y, z), got {shown(values)}; give three numbers.")
    x, y, z = (float(number(name, value, -1e12, 1e12)) for value in found)
    return x, y, z


def strict_json(text: str | bytes) -> Any:
    """What JSON holds.

    Raises:
        ValueError: for anything else, NaN and infinities too.
    """

    def refuse(word: str):
        raise ValueError(f"Expected JSON, got {word}; write null.")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("Expected JSON, got lists in lists without end; correct it.") from None


def texts(name: str, values: Any) -> list[str]:
    """A list of names, of which one alone may stand for itself.

    Raises:
        TypeError: if they are none.
    """
    found: list[Any] = [values] if isinstance(values, str) else list(values) if isinstance(values, Iterable) else [None]
    if not all(isinstance(value, str) for value in found):
        raise TypeError(f"Expected {name} as names, got {shown(values)}; write ['ra', 'dec'].")
    return found


def path_of(path: Any) -> Path:
    """A path from what was given as one.

    Raises:
        TypeError: if it is neither text nor a path.
        ValueError: if the system has no such paths.
    """
    path = Path(a(path, (str, os.PathLike), "a path"))
    try:
        path.exists()
    except (OSError, ValueError) as problem:
        raise ValueError(f"Expected a path that the system takes, got {shown(str(path))}; shorten it.") from problem
    return path


def full_path(path: Any) -> Path:
    """A path from the root on, which stays the same wherever the program goes.

    Raises:
        TypeError, ValueError: as `path_of`.
    """
    path = path_of(path)
    if "\0" in str(path):
        raise ValueError(f"Expected a path that the system takes, got {shown(str(path))}; correct it.")
    return path.resolve()


def sentence(error: BaseException) -> str:
    """What an exception says, in at most a thousand characters."""
    text = " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())[:1000]
    return text if " " in text else f"{type(error).__name__}: {text or 'no further word'}"


def parts(config: Any) -> None:
    """Every field of a dataclass that is to be a config itself is one.

    Raises:
        TypeError: if it is not.
    """
    for name, hint in get_type_hints(type(config)).items():
        kinds = get_args(hint) or (hint,)
        if any(map(dataclasses.is_dataclass, kinds)):
            a(getattr(config, name), kinds, f"{name} as a {kinds[0].__name__}")


def from_plain(cls: type[T], values: Any) -> T:
    """A config from plain values as `dataclasses.asdict` gives them; a field that is missing has its default.

    Raises:
        TypeError, ValueError: for what is no mapping, an unknown field, a missing config in it, or a value that the
            config refuses.
    """
    hints = get_type_hints(cls)
    if not isinstance(values, Mapping):
        raise ValueError(f"Expected a {cls.__name__} as a mapping of its fields, got {shown(values)}; write it so.")
    inner: dict[str, Any] = {
        n: k for n, hint in hints.items() for k in (get_args(hint) or (hint,)) if dataclasses.is_dataclass(k)
    }
    if wrong := [name for name in values if name not in hints] or [name for name in inner if name not in values]:
        raise ValueError(
            f"Expected a {cls.__name__} with the fields {', '.join(hints)}, got "
            f"{'an unknown' if wrong[0] in values else 'none called'} {shown(wrong[0])}; correct them."
        )
    made = {n: from_plain(inner[n], v) if n in inner and v is not None else v for n, v in values.items()}
    return cls(**made)
