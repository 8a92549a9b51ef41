"""The narrow waist: every result that is drawn, saved or compared is an ``xarray.Dataset`` made here.

Axes are coordinates with a ``units`` attribute and a ``long_name``; every variable has both as well; an ensemble
lies along ``member``; where the numbers came from stands in the attributes (plain strings and numbers, so that a
field goes to NetCDF as it is).
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

import clearview
from clearview.checks import a, number


class Axis(NamedTuple):
    """A named, regular axis: ``Axis("x", 4, 12, 128, "kpc")`` has its 128 values at the centres of 128 cells."""

    name: str
    low: float
    high: float
    size: int
    units: str = "kpc"
    label: str = ""

    @property
    def values(self) -> np.ndarray:
        """(size,) cell centres."""
        edges = np.linspace(self.low, self.high, self.size + 1)
        return 0.5 * (edges[1:] + edges[:-1])


class Quantity(NamedTuple):
    """The values of one variable of a field with their units and the words that stand on a colour bar."""

    values: Any
    units: str
    label: str


MOST = 10**9
"""Cells of a grid."""


def check(axes: Sequence[Axis], fixed: Mapping[str, float]) -> None:
    """Refuse axes and fixed coordinates that make no grid.

    Raises:
        TypeError: for what are no axes, or no coordinates by name.
        ValueError: for a name given twice, an end that is not finite, an axis of no length or no cells, or too many.
    """
    for axis in a(axes, Sequence, "a sequence of axes"):
        for end in a(axis, Axis, "an Axis")[1:3]:
            number(f"the end of {axis.name}", end)
        number(f"the size of {axis.name}", axis.size, 1, MOST, whole=True)
        if axis.low == axis.high:
            raise ValueError(f"Expected an axis {axis.name} with two ends, got both at {axis.low:g}; part them.")
    for name, value in a(fixed, Mapping, "the other coordinates as a mapping").items():
        number(name, value)
    names = [*(axis.name for axis in axes), *fixed]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"Expected each coordinate once, got {twice[0]} twice; take one of them out.")
    if (cells := prod(axis.size for axis in axes)) > MOST:
        raise ValueError(f"Expected a grid of at most {MOST:,} cells, got {cells:,}; make the axes coarser.")


def grid(axes: Sequence[Axis], fixed: Mapping[str, float], order: Sequence[str]) -> np.ndarray:
    """Points of a slice: ``axes`` vary (first axis slowest), ``fixed`` stay, coordinates in ``order``.

    Returns:
        float32 array, shape ``(*sizes, len(order))``.

    Raises:
        ValueError: if a coordinate of ``order`` is neither an axis nor fixed.
    """
    check(axes, fixed)
    missing = [name for name in order if name not in fixed and name not in {a.name for a in axes}]
    if missing:
        raise ValueError(
            f"Expected a value or an axis for each of {', '.join(order)}, got none for {', '.join(missing)}; add it."
        )
    mesh = dict(zip((a.name for a in axes), np.meshgrid(*(a.values for a in axes), indexing="ij"), strict=True))
    shape = tuple(a.size for a in axes)
    return np.stack([mesh.get(n, np.full(shape, fixed.get(n, 0.0))) for n in order], axis=-1).astype(np.float32)


def make_field(
    axes: Sequence[Axis],
    variables: Mapping[str, Quantity],
    provenance: Mapping[str, Any] | None = None,
    *,
    members: int | None = None,
) -> xr.Dataset:
    """A field on a regular grid.

    Args:
        axes: the axes of every variable, in the order of their array dimensions.
        variables: name to `Quantity`, values of shape ``(*sizes)`` or ``(members, *sizes)``.
        provenance: attributes of the field; ``clearview_version`` is added.
        members: size of the leading ``member`` axis, if there is an ensemble.

    Raises:
        ValueError: if the shape of a variable is not that of the axes.
    """
    dims = [*(["member"] if members else []), *(a.name for a in axes)]
    shape = (*([members] if members else []), *(a.size for a in axes))
    for name, q in variables.items():
        if np.shape(q.values) != shape:
            raise ValueError(f"Expected {name} of shape {shape}, got {np.shape(q.values)}; reshape it.")
    coords = {a.name: (a.name, a.values, {"units": a.units, "long_name": a.label or a.name}) for a in axes}
    data = {n: (dims, np.asarray(q.values), {"units": q.units, "long_name": q.label}) for n, q in variables.items()}
    return xr.Dataset(data, coords, {**(provenance or {}), "clearview_version": clearview.__version__})


def summarise(field: xr.Dataset) -> xr.Dataset:
    """Mean and standard deviation over ``member``: every variable ``q`` gives ``q`` and ``q_std``."""
    if "member" not in field.dims:
        raise ValueError("Expected a field with a member axis, got one without; only an ensemble has a spread.")
    mean = field.mean("member", keep_attrs=True)
    spread = field.std("member", ddof=1, keep_attrs=True)
    return mean.assign({f"{name}_std": spread[name] for name in field.data_vars})
