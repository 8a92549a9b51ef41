"""The numbers behind a picture, as they were drawn."""

from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
import xarray as xr

from clearview.figures.style import layers


def data_of(element) -> xr.Dataset | pd.DataFrame:
    """What an element shows: its pictures as a field, or without one its curves and points as a table.

    Returns:
        A field with the units and names of the axes, in a layout on different axes with a number behind every name; or
        a table with the columns ``layer`` (the label), x and y, named with their units.

    Raises:
        ValueError: if there is neither a picture nor a curve.
    """
    if isinstance(element, hv.Layout):
        return _merged([_numbers(k) for k in element])
    found = _numbers(element)
    if "layer" not in found:
        return found
    words = {n: f"{v.long_name} [{v.units}]" if v.units else v.long_name for n, v in found.items() if n != "layer"}
    return found.to_dataframe().reset_index(drop=True).rename(columns=words)


def _numbers(element) -> xr.Dataset:
    """The pictures on their axes; without any, the curves and points one after the other."""
    images = [k for k in layers(element) if isinstance(k, hv.Image)]
    if images:
        return _merged([_field(image) for image in images])
    parts = [k for k in layers(element) if isinstance(k, hv.Curve | hv.Scatter | hv.Points | hv.Area | hv.Spread)]
    if not parts:
        raise ValueError("Expected a picture, curves or points, got none of them; draw one first.")
    rows = [{d.name: np.asarray(k.interface.values(k, d)) for d in k.dimensions()} for k in parts]
    table = [pd.DataFrame({"layer": k.label, **columns}) for k, columns in zip(parts, rows, strict=True)]
    found = xr.Dataset.from_dataframe(pd.concat(table, ignore_index=True).rename_axis("row")).drop_vars("row")
    for d in (d for k in parts for d in k.dimensions()):
        found[d.name].attrs.update(units=d.unit or "", long_name=d.label)
    return found


def _merged(fields: list[xr.Dataset]) -> xr.Dataset:
    if len({tuple(field.dims) for field in fields}) > 1 or any(
        "layer" in k for k in fields
    ):  # each has axes of its own
        fields = [field.rename({n: f"{n}_{i}" for n in {*field.variables, *field.dims}})
                  for i, field in enumerate(fields, 1)]  # fmt: skip
    merged: Any = xr.merge(fields, compat="override", combine_attrs="override", join="override")
    return merged


def _field(image: Any) -> xr.Dataset:
    x, y, z = (*image.kdims, image.vdims[0])
    coords = {
        d.name: (d.name, np.asarray(image.interface.coords(image, d)), {"units": d.unit or "", "long_name": d.label})
        for d in (x, y)
    }
    values = np.asarray(image.interface.values(image, z, flat=False))
    attrs = {"units": z.unit or "", "long_name": z.label}
    return xr.Dataset({z.name: ((y.name, x.name), values, attrs)}, coords, {"title": image.label}).transpose(
        x.name, ...
    )
