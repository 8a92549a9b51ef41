"""A dwarf galaxy in pictures: its stars, binned and one by one, and the profiles that a fit makes of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from clearview.figures.slices import bars, points, profile, quantile_profile
from clearview.figures.style import LINES, layers

PROFILES: dict[str, tuple[str, str, str, str]] = {
    "Sigma": ("R", "log", "stars per area", "kpc-2"),
    "n": ("r", "log", "stars per volume", "kpc-3"),
    "sigma_los": ("R", "linear", "velocity dispersion", "km/s"),
    "rho": ("r", "log", "density ρ", "M⊙ kpc⁻³"),
    "M": ("r", "log", "mass within r", "M⊙"),
    "beta": ("r", "linear", "anisotropy β", ""),
    "slope": ("r", "linear", "d ln ρ / d ln r", ""),
}
"""Along which radius a profile runs, the scale of its values, and the words and unit of its axis."""

POINTS = 7
"""So many published radii are points, more are a line."""

MANY = 4
"""So many names there is room for beside the curves."""

RADII = {"R": "R on the sky", "r": "r"}


def dwarf_profile(
    name: str,
    fit: xr.Dataset | None = None,
    *,
    bins: xr.Dataset | None = None,
    truth: xr.DataArray | None = None,
    references: Mapping[str, xr.DataArray] | None = None,
    published: Sequence[Any] = (),
    range: tuple[float, float] | None = None,
    label: str = "",
) -> hv.Overlay:
    """One profile of a dwarf: the fit's median and its bands of 68 and 95 %, the stars in bins, and what is to compare.

    Args:
        name: one of `PROFILES`.
        fit: of `clearview.dwarfs.DwarfFit.field`.
        bins: of `clearview.dwarfs.bin_stars`, for Sigma and sigma_los. The fit's and the truth's Sigma are of one star
            in all, and are drawn as many times as makes them the stars counted.
        truth: (M,) along the same radius, dashed.
        references: further curves by name.
        published: what others found, such as `clearview.dwarfs.Published` or what `clearview.dwarfs.mass_estimates`
            gives; those with nothing of this profile are left out. Up to seven radii are points, more a line with its
            band of 68 %.
        range: of the radius, kpc; by default that of what is drawn.
        label: the title.

    Raises:
        ValueError: for another name, nothing to draw, or two published values of one name.
    """
    if name not in PROFILES:
        raise ValueError(f"Expected a profile among {', '.join(PROFILES)}, got {name!r}; choose one.")
    axis, scale, words, unit = PROFILES[name]
    binned = bins is not None and name in ("Sigma", "sigma_los")
    found = {"fit": None if fit is None else fit[name], "truth": truth, **(references or {})}
    curves = {k: _within(v, name, range) for k, v in found.items() if v is not None}
    given = [(one.name, one.values(name)) for one in published]
    others = {k: [np.atleast_1d(np.asarray(v, float)) for v in values] for k, values in given if values is not None}
    if not curves and not binned and not others:
        raise ValueError(f"Expected something to draw of {name}, got nothing; pass a fit, bins or a truth.")
    if len(others) < sum(values is not None for _, values in given) or set(others) & set(found):
        raise ValueError(f"Expected published values with a name each, got {', '.join(k for k, _ in given)}; rename "
                         "those that are the same.")  # fmt: skip
    for k in [k for k, values in others.items() if len(values[0]) > POINTS]:
        r, middle, low, high = others.pop(k)
        q = {"quantile": [0.16, 0.5, 0.84]}
        banded = _within(xr.DataArray([low, middle, high], {**q, axis: r}, ["quantile", axis]), name, range)
        if banded.sizes[axis] > 1:
            curves[k] = banded
    along: dict[str, Any] = {"units": "kpc", "long_name": RADII[axis], "scale": "log"}
    values: dict[str, Any] = {"units": unit, "long_name": words, "scale": scale}
    if range is not None:
        along["limits"] = tuple(range)
    if name == "sigma_los":  # from nothing on, with room above for the legend
        tops = [float(np.nanmax(v.values)) for v in curves.values()]
        if bins is not None:
            shown = np.ones(bins.sizes["bin"], bool) if range is None else bins["R"].values < range[1]
            tops.append(float(np.nanmax(bins["sigma_los_high"].values[shown], initial=0.0)))
        values["limits"] = 0.0, 1.3 * max(tops) or 1.0

    if scale == "log" and len(curves) + len(others) + binned > MANY:  # a legend that long needs room below the curves
        drawn_values = np.concatenate([v.values.ravel() for v in curves.values()] or [v[1] for v in others.values()])
        low, high = np.min(drawn_values, initial=np.inf, where=drawn_values > 0), np.nanmax(drawn_values)
        values["limits"] = low * np.sqrt(low / high), 1.5 * high

    names = ["fit", "truth", *["stars, binned"] * binned, *(k for k, v in given if v is not None)]
    inks = {k: i for i, k in enumerate(names)}  # the same, whichever of them are shown
    inks |= {k: len(LINES) - 1 - i for i, k in enumerate(references or {})}

    def named(r, v, whose: str) -> tuple[xr.DataArray, xr.DataArray]:
        how = values | {"ink": inks[whose]}
        return xr.DataArray(r, dims="row", name=axis, attrs=along), xr.DataArray(v, dims="row", name=name, attrs=how)

    drawn: list[Any] = []
    for k, v in curves.items():
        if name == "Sigma" and bins is not None:
            v = _counted(v, bins)
        v = v.rename(name).assign_coords({axis: (axis, v[axis].values, along)})
        v.attrs = values | {"ink": inks[k]}
        how: dict[str, Any] = {"label": k, "scale": scale, "along": "log"}
        drawn += layers(quantile_profile(v, **how) if "quantile" in v.dims else profile(v, dashed=k == "truth", **how))
    if bins is not None and binned:
        R, value = bins["R"].values, bins[name].values
        error = bins.get("Sigma_error", np.nan)
        ends = (value - error, value + error) if name == "Sigma" else (bins["sigma_los_low"], bins["sigma_los_high"])
        low = np.where(bins["R_low"].values > 0, bins["R_low"].values, R / 2)  # the centre is off the axis
        strokes = {"x_ends": (low, bins["R_high"].values), "y_ends": tuple(np.asarray(v) for v in ends)}
        drawn.append(bars(*named(R, value, "stars, binned"), **strokes, label="stars, binned"))
    for whose, (r, value, low, high) in others.items():
        drawn.append(bars(*named(r, value, whose), x_ends=(r / 1.15, r * 1.15), y_ends=(low, high), label=whose))
    return hv.Overlay(drawn, label=label)


def star_map(
    x: xr.DataArray, y: xr.DataArray, values: xr.DataArray, *, limits: tuple[float, float] | None = None,
    label: str = "",
) -> hv.Overlay:  # fmt: skip
    """Stars as points that are coloured by a value: on the sky, or in velocity against radius.

    Args:
        x, y: (N,) places, or radii and velocities.
        values: (N,) the colour; what has a sign, such as a velocity, is coloured about zero.
        limits: (low, high) of the colours.
        label: the title.
    """
    signed = bool(np.nanmin(values.values, initial=0.0) < 0)
    order = np.argsort(np.abs(np.nan_to_num(values.values)), kind="stable") if signed else slice(None)
    some = points(x[order], y[order], values=values[order], scale="diverging" if signed else "linear", limits=limits)
    return hv.Overlay([some], label=label)


def _within(field: xr.DataArray, name: str, ends: tuple[float, float] | None) -> xr.DataArray:
    """A profile within the radii that are shown."""
    axis = PROFILES[name][0]
    if field.dims[-1] != axis:
        raise ValueError(f"Expected {name} along {axis}, got it along {', '.join(map(str, field.dims))}; rename it.")
    if ends is None:
        return field
    r = field[axis].values
    return field.isel({axis: np.flatnonzero((r >= 0.999 * ends[0]) & (r <= 1.001 * ends[1]))})


def _counted(field: xr.DataArray, bins: xr.Dataset) -> xr.DataArray:
    """A surface density of one star in all, as many times as there are stars in the bins that it reaches over."""
    R, high = field["R"].values, bins["R_high"].values
    middle = field.sel(quantile=0.5).values if "quantile" in field.dims else field.values
    whole = high <= R[-1]
    whole[0] = True
    fine = np.geomspace(1e-3 * high[whole][-1], high[whole][-1], 400)
    model = np.exp(np.interp(np.log(fine), np.log(R), np.log(np.maximum(middle, 1e-300))))
    held = np.trapezoid(2 * np.pi * fine**2 * model, np.log(fine)) + np.pi * fine[0] ** 2 * model[0]
    counted = (bins["Sigma"].values * np.pi * (high**2 - bins["R_low"].values ** 2))[whole].sum()
    return field.copy(data=field.values * counted / held)
