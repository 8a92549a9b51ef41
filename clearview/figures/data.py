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
        A field with the units and names of the axes; in a layout of views that differ in their axes, or of which some
        are curves or points, the number of the view stands behind every name. Or a table with the columns ``layer``
        (the label), x and y, named with their units.

    Raises:
        ValueError: if there is neither a picture nor a curve.
    """
    if isinstance(element, hv.Layout) and len(element) > 1:
        return _merged([_numbers(k) for k in element])
    found = _numbers(next(iter(element)) if isinstance(element, hv.Layout) else element)
    if "row" not in found.dims:
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
    names = [name for field in fields for name in field.data_vars]
    alike = all(fields[0].coords.equals(field.coords) for field in fields)
    if not alike or len(set(names)) < len(names):  # each view has axes of its own
        numbered = enumerate(fields, 1)
        fields = [k.rename({n: f"{n}_{i}" for n in {*k.variables, *k.dims}}) for i, k in numbered]
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
