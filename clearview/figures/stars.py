"""Stars counted on a grid; colour comes later, so that counts can be tested and compared."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from clearview.field import Axis


def count_field(x, y, axes: Sequence[Axis]) -> xr.DataArray:
    """Number of stars in each cell of a grid.

    Args:
        x: (N,) coordinate along the first axis, in its units. float32 is fastest.
        y: (N,) coordinate along the second axis.
        axes: the two axes, whose sizes are the numbers of cells.

    Returns:
        uint32 counts with dimensions named for the axes, in their order.

    Raises:
        ValueError: if there are not two axes or the columns differ in length.
    """
    if len(axes) != 2 or len(x) != len(y):
        raise ValueError(f"Expected two axes and two columns of one length, got {len(axes)} axes and columns of "
                         f"{len(x)} and {len(y)} stars.")  # fmt: skip
    import datashader  # here, because it takes seconds to load and only this needs it
    import pandas as pd

    # Datashader compiles once for each dtype; float32 halves the memory read.
    table = pd.DataFrame({"x": np.asarray(x, np.float32), "y": np.asarray(y, np.float32)}, copy=False)
    a, b = axes
    canvas = datashader.Canvas(a.size, b.size, (a.low, a.high), (b.low, b.high))
    counts = np.asarray(canvas.points(table, "x", "y", datashader.count()).values).T
    coords = {k.name: (k.name, k.values, {"units": k.units, "long_name": k.label or k.name}) for k in axes}
    return xr.DataArray(counts, coords, [a.name, b.name], "stars", {"units": "", "long_name": "stars per cell"})


def count_batches(batches: Iterable[Any], axes: Sequence[Axis]) -> xr.DataArray:
    """`count_field` of stars that come in batches, as those of a `clearview.catalogs.LargeCatalog` do.

    Args:
        batches: each gives columns by the names of the axes, in their units.
        axes: the two axes, whose sizes are the numbers of cells.

    Raises:
        ValueError: if there are not two axes, or no batches.
    """
    total = None
    for batch in batches:
        counts = count_field(batch[axes[0].name], batch[axes[1].name], axes)
        total = counts if total is None else total + counts.values
    if total is None:
        raise ValueError("Expected at least one batch of stars to count, got none; check what they come from.")
    return total
