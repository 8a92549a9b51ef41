"""Fields to NetCDF and FITS files and back, with units, members and provenance."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from astropy.io import fits

from clearview.catalogs.columns import HEADER
from clearview.checks import path_of

_NETCDF, _FITS = (".nc", ".nc4", ".netcdf"), (".fits", ".fit")


def write_field(field: xr.Dataset, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a field as NetCDF or FITS, by the ending of ``path``. `read_field` gives the same back.

    In FITS every variable is an image extension of its name with BUNIT, the axes as a linear world coordinate system
    (CTYPE, CRVAL, CDELT, CUNIT; FITS counts axes backwards, so the last axis of the array is axis 1), and members,
    if there are any, as one more axis. Provenance stands as cards in the primary header, and all attributes, exactly,
    as JSON in its card CLRVIEW.

    Args:
        field: what `clearview.field.make_field` makes.
        path: a name ending in .nc, .nc4, .netcdf, .fits or .fit.
        overwrite: replace a file that is there.

    Raises:
        FileExistsError: if the file is there and ``overwrite`` is not set.
        FileNotFoundError: if its folder is not there.
        TypeError: if ``field`` is no Dataset.
        ValueError: if the ending is not known, or the format cannot hold the field; a file that was there stays.
    """
    path = path_of(path)
    kind = _kind(path)
    if not isinstance(field, xr.Dataset):
        raise TypeError(f"Expected an xarray Dataset, got {type(field).__name__}; make it with make_field.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"Expected a new file, got {path}, which exists; pass overwrite=True to replace it.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Expected a folder to write to, got {path.parent}, which is none; make it first.")
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        if kind == "FITS":
            _to_fits(field).writeto(partial, overwrite=True)
        else:
            # HDF5 has no booleans of NetCDF's.
            attrs = {k: int(v) if isinstance(v, bool | np.bool_) else v for k, v in field.attrs.items()}
            field.assign_attrs(attrs).to_netcdf(partial, engine="h5netcdf")
        partial.replace(path)
    except (TypeError, ValueError) as problem:
        raise ValueError(
            f"Expected a field that {kind} can hold, got one that it cannot ({problem}); drop or convert that part."
        ) from problem
    finally:
        partial.unlink(missing_ok=True)


def read_field(path: str | Path) -> xr.Dataset:
    """Read what `write_field` wrote; FITS coordinates come back to rounding.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the ending is not known, or the file was not written by `write_field`.
    """
    path = path_of(path)
    kind = _kind(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a file to read, got {path}, which is none; check the name.")
    try:
        return _from_fits(path) if kind == "FITS" else xr.load_dataset(path, engine="h5netcdf")
    except (OSError, KeyError, ValueError, TypeError) as problem:
        raise ValueError(
            f"Expected a {kind} file written by write_field, got {path.name}, which could not be read ({problem}); "
            "check the file."
        ) from problem


def _kind(path: Path) -> str:
    for endings, kind in ((_NETCDF, "NetCDF"), (_FITS, "FITS")):
        if path.name.lower().endswith(endings):
            return kind
    raise ValueError(f"Expected a file ending in {', '.join(_NETCDF + _FITS)}, got {path.name}; rename it.")


def _native(value):
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _attributes(item) -> dict:
    return {str(k): _native(v) for k, v in item.attrs.items()}


def _to_fits(field: xr.Dataset) -> fits.HDUList:
    extra = set(field.coords) - set(field.dims)
    if extra:
        raise ValueError(f"coordinates off the axes: {', '.join(map(str, extra))}")
    told = {
        "field": _attributes(field),
        "variables": {str(n): _attributes(v) for n, v in field.data_vars.items()},
        "coordinates": {str(n): _attributes(v) for n, v in field.coords.items()},
        "booleans": [str(n) for n, v in field.data_vars.items() if v.dtype == bool],
    }
    primary = fits.PrimaryHDU()
    primary.header[HEADER] = json.dumps(told)
    for key, value in told["field"].items():
        text = value if isinstance(value, int | float | bool) else str(value)
        plain = not isinstance(text, str) or (text.isascii() and text.isprintable())
        if plain and key.isascii() and key.isidentifier() and len(key) + len(str(text)) < 60 and text == text:
            primary.header[f"HIERARCH {key}"] = text
    images = []
    for name, variable in field.data_vars.items():
        values = variable.values.astype(np.uint8) if variable.dtype == bool else variable.values
        if values.dtype.kind not in "iuf" or values.ndim == 0:
            raise ValueError(f"{name} of type {values.dtype} and {values.ndim} axes")
        image = fits.ImageHDU(values, name=str(name))
        image.header["VARIABLE"] = str(name)  # EXTNAME is in capitals
        if (unit := variable.attrs.get("units", "")).isascii():
            image.header["BUNIT"] = unit
        for i, axis in enumerate(reversed(variable.dims), start=1):
            at = np.asarray(field[axis].values if axis in field.coords else np.arange(field.sizes[axis]), float)
            step = (at[-1] - at[0]) / (len(at) - 1) if len(at) > 1 else 1.0
            if not np.allclose(at, at[0] + step * np.arange(len(at)), rtol=0, atol=1e-5 * abs(step)):
                raise ValueError(f"axis {axis} is not regular")
            image.header[f"CTYPE{i}"], image.header[f"CRPIX{i}"] = str(axis), 1.0
            image.header[f"CRVAL{i}"], image.header[f"CDELT{i}"] = at[0], step
            if axis in field.coords and "units" in field[axis].attrs:
                image.header[f"CUNIT{i}"] = field[axis].attrs["units"]
        images.append(image)
    return fits.HDUList([primary, *images])


def _from_fits(path: Path) -> xr.Dataset:
    with fits.open(path) as opened:
        file: Any = opened
        told = json.loads(file[0].header[HEADER])
        coordinates, variables = {}, {}
        for image in file[1:]:
            header, name = image.header, image.header["VARIABLE"]
            dims = [header[f"CTYPE{i}"] for i in range(header["NAXIS"], 0, -1)]
            for i, axis in enumerate(reversed(dims), start=1):
                if axis in told["coordinates"]:
                    at = header[f"CRVAL{i}"] + header[f"CDELT{i}"] * np.arange(header[f"NAXIS{i}"])
                    coordinates[axis] = (axis, at, told["coordinates"][axis])
            values = np.asarray(image.data)
            kind = bool if name in told["booleans"] else values.dtype.newbyteorder("=")
            variables[name] = (dims, values.astype(kind), told["variables"][name])
    return xr.Dataset(variables, coordinates, told["field"])
