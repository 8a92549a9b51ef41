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
        A field with the units and names of the axes, of pictures on different axes with a number behind every name;
        or a table with the columns ``layer`` (the label), x and y, named with their units.

    Raises:
        ValueError: if there is neither a picture nor a curve, or a layout of pictures and plots without one.
    """
    if isinstance(element, hv.Layout):
        return _merged([data_of(k) for k in element])
    images = [k for k in layers(element) if isinstance(k, hv.Image)]
    if images:
        return _merged([_field(image) for image in images])
    tables = [
        _table(k) for k in layers(element) if isinstance(k, hv.Curve | hv.Scatter | hv.Points | hv.Area | hv.Spread)
    ]
    if not tables:
        raise ValueError("Expected a picture, curves or points, got none of them; draw one first.")
    return pd.concat(tables, ignore_index=True)


def _merged(fields: list[Any]) -> xr.Dataset:
    if not all(isinstance(field, xr.Dataset) for field in fields):
        raise ValueError("Expected pictures only, got curves or points beside them; take the numbers of one of them.")
    if len({tuple(field.dims) for field in fields}) > 1:  # each plane has axes of its own
        fields = [field.rename({n: f"{n}_{i}" for n in field.variables}) for i, field in enumerate(fields, 1)]
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


def _table(element: Any) -> pd.DataFrame:
    found = {d.pprint_label: np.asarray(element.interface.values(element, d)) for d in element.dimensions()}
    return pd.DataFrame({"layer": element.label, **found})
