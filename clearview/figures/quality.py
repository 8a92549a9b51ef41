"""The pictures of a data-quality report."""

import holoviews as hv
import xarray as xr

from clearview.figures.marginals import marginal
from clearview.figures.slices import profile, slice_image

_TITLES = {
    "sky": "Stars on the sky", "magnitude": "Apparent magnitudes", "parallax_snr": "Quality of parallaxes",
    "ruwe_counts": "RUWE; single stars are below 1.4", "toomre": "Toomre diagram",
}  # fmt: skip
_VELOCITIES = ("v_R", "v_phi", "v_z")


def quality_views(fields: xr.Dataset) -> hv.Layout:
    """Sky coverage, magnitudes, parallaxes against distance, velocities and RUWE, of those that there are.

    Args:
        fields: of a `clearview.catalogs.Quality`.

    Returns:
        A layout in two columns; `clearview.figures.save_figure` writes it, `clearview.figures.show` shows its parts.

    Raises:
        ValueError: if there is nothing to draw.
    """
    views = []
    for name, title in _TITLES.items():
        if name in fields:
            counts = fields[name]
            if counts.ndim == 2:
                views.append(slice_image(counts, scale="log", label=title))
            else:
                views.append(marginal(_trimmed(counts)).relabel(title))
    if "velocity_share" in fields:
        known = fields[["velocity_share", "velocity_share_error"]].dropna("phot_g_mean_mag")
        share, error = known["velocity_share"], known["velocity_share_error"]
        views.append(hv.Overlay([profile(share, error=error)], label="Selection by radial velocity"))
    if found := [name for name in _VELOCITIES if name in fields]:
        curves = [_trimmed(fields[name]) for name in found]
        named = [(c.rename("stars per bin").assign_attrs(long_name=""), c.long_name) for c in curves]
        views.append(hv.Overlay([profile(c, label=label) for c, label in named], label="Velocities in the Galaxy"))
    if not views:
        raise ValueError("Expected the fields of a quality report, got none to draw; take quality(catalog).fields.")
    return hv.Layout(views).cols(2)


def _trimmed(counts: xr.DataArray) -> xr.DataArray:
    """Without the empty bins at the ends, but for one."""
    full = (counts.values > 0).nonzero()[0]
    first, last = (full[0], full[-1]) if full.size else (0, counts.size - 1)
    return counts[max(0, first - 1) : max(last + 2, 2)]
