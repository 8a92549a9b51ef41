"""What leaves a panel: the picture, the numbers behind it, and the lines that make it in a script."""

from pathlib import Path
from typing import Any

import ipywidgets as W
import pandas as pd
import xarray as xr

from clearview.checks import a, path_of
from clearview.panels.columns import learnt
from clearview.panels.controls import button, wide
from clearview.units import SUN

PICTURES = (".png", ".svg", ".pdf")
TABLES = (".nc", ".fits", ".csv")


def save_data(data: xr.Dataset | pd.DataFrame, path: str | Path, *, overwrite: bool = False) -> None:
    """Write the numbers behind a picture: a field as NetCDF, FITS or CSV, a table as CSV.

    A column of a CSV file is named with its unit, as "x [kpc]".

    Raises:
        FileExistsError: if the file is there and ``overwrite`` is false.
        FileNotFoundError: if its folder is not there.
        ValueError: for another ending, a table that is to become anything but CSV, or CSV for views on different axes.
    """
    path = path_of(path)
    a(data, (xr.Dataset, pd.DataFrame), "a field or a table")
    if path.suffix != ".csv":
        if isinstance(data, pd.DataFrame) or path.suffix not in (*TABLES, ".nc4", ".netcdf", ".fit"):
            ends = ".csv" if isinstance(data, pd.DataFrame) else ", ".join(TABLES)
            raise ValueError(f"Expected a path ending in {ends}, got {path.name!r}; change its ending.")
        from clearview.interop import write_field

        return write_field(data, path, overwrite=overwrite)
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"Expected a new file, got {path}, which is already there; pass overwrite=True to replace it."
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Expected a folder to write to, got {path.parent}, which is none; make it first.")
    table = data
    if isinstance(data, xr.Dataset):
        if len({frozenset(variable.dims) for variable in data.data_vars.values()}) > 1:
            raise ValueError(f"Expected a path ending in .nc for views on different axes, got {path.name!r}; change "
                             "its ending.")  # fmt: skip
        units = {name: data[name].attrs.get("units", "") for name in (*data.coords, *data.data_vars)}
        table = data.to_dataframe().reset_index().rename(columns={n: f"{n} [{u}]" for n, u in units.items() if u})
    partial = path.with_name(f".{path.name}.partial")
    table.to_csv(partial, index=False)
    partial.replace(path)
    return None


def code_of(panel: Any) -> str:
    """A few lines that make the picture of a panel in a script, with the same calls that its controls are."""
    lines, given = ["import clearview", ""], []
    if panel.catalog is not None:
        lines += _stars(panel.catalog)
        given.append("stars")
    files = bool(panel.work.file)
    if panel.fit is not None and files:
        lines.append(f"fit = {_fit(panel)}")
        given.append("fit" if given else "fit=fit")
    for name, attribute in panel.given.items():
        value = getattr(panel, attribute)
        if value is not None and not (hasattr(value, "__len__") and len(value) == 0):
            plain = isinstance(value, str | float | int | tuple | list)
            if not plain:
                lines.append(f"{name} = ...  # {name} of this panel")
            given.append(f"{name}={value!r}" if plain else f"{name}={name}")
    lines.append(f"panel = clearview.{type(panel).__name__}({', '.join([*given, 'threaded=False'])})")
    changed = {k: v for k, v in panel.settings.items() if k != "range" and (k in panel.told or v != panel.at_first[k])}
    if changed:
        lines.append(f"panel.set({', '.join(f'{k}={v!r}' for k, v in changed.items())})")
    if panel.shows_fit() and not files:
        lines.append("panel.train()")
    for index, view in enumerate(panel.views):
        if view.range:
            lines.append(f"panel.views[{index}].range = {_short(view.range)}")
    if steps := getattr(getattr(panel, "selection", None), "steps", None):
        told = [{k: _short(v) if k == "xy" else v for k, v in step.items()} for step in steps]
        lines.append(f"panel.selection.repeat({told!r})")
    return "\n".join([*lines, 'panel.save_figure("picture.png")', ""])


def _short(numbers) -> list[float]:
    return [float(f"{v:.9g}") for v in numbers]


def _stars(catalog) -> list[str]:
    """Where a catalogue comes from, as far as it tells; its cuts are the caller's own."""
    from clearview.samples import SAMPLES  # here, since it brings JAX

    mock, file, stream = (catalog.meta.get(k) for k in ("mock", "file", "stream"))
    words, name = f"# {len(catalog):,} stars, with the cuts that were made", str((file or {}).get("name", ""))
    if name.removesuffix(".parquet") in SAMPLES:
        read = f"clearview.load_sample({name.removesuffix('.parquet')!r})"
    elif file and file.get("format") == "Dask":
        read = "..."
    elif file:
        several = file.get("files", 1) != 1 or file.get("format") == "HATS"
        read = f"clearview.open_catalog({name!r})" if several else f"clearview.read_catalog({name!r})"
    elif mock and catalog.meta.get("source") == "mock_galaxy":
        told = {k: mock[k] for k in ("seed", "potential", "radius") if k in mock}
        read = f"clearview.mock_galaxy({mock['n']!r}, {', '.join(f'{k}={v!r}' for k, v in told.items())})"
    else:
        read = "..."
    if told := catalog.meta.get("dereddened"):
        column = str(told["E(B-V)"]).removeprefix("column ")
        read += f".deredden({column!r}, law={told['law']!r})" if column in catalog else ".deredden(...)"
    if "sun" in catalog.meta and not mock and catalog.has_phase_space:
        sun, distance = catalog.sun, catalog.meta.get("distance")
        given = [] if sun == SUN else [repr(sun.name) if sun.name else f"clearview.units.{sun!r}"]
        usual = "distance" if "distance" in catalog else "parallax"
        given += [f"distance={distance!r}"] if distance not in (None, usual) else []
        read += f".to_galactocentric({', '.join(given)})"
    if stream and stream.get("name"):
        reflex = stream.get("reflex")
        at = "" if reflex is None else f", reflex_distance={reflex['distance']!r}"
        read += f".to_stream({stream['name']!r}{at})"
    if (patch := catalog.meta.get("patch")) and read != "...":
        if "of" in patch:  # one of clearview.streams, in whose terms these are
            zones, fewest = patch["without"], patch["fewest"]
            given = [f"without=[{', '.join(f'clearview.{zone}' for zone in zones)}]"] if zones else []
            read = f"clearview.{patch['of']}.of({', '.join([read, *given, f'fewest={fewest}'])})"
        else:
            read += f".to_patch({tuple(patch['center'])!r})"
    return [words, f"stars = {read}"]


def _fit(panel) -> str:
    reader = "clearview.load_fit" if learnt(panel.fit) is None else "clearview.load_columns"
    if panel.bar.file[0] is panel.fit:
        return f"{reader}({str(panel.bar.file[1])!r})"
    return f'{reader}("fit.clearview")  # after panel.save("fit.clearview")'


class ShareBar(W.Accordion):
    """Buttons that save the picture and its numbers, and that copy the code.

    Args:
        panel: whose methods `save_figure`, `save_data` and `code` they are.
    """

    def __init__(self, panel):
        self._panel = panel
        self.path = W.Text(value="picture.png", description="File", continuous_update=False, **wide())
        self.picture, self.numbers, self.code = button("Save picture"), button("Save data"), button("Copy code")
        self.picture.tooltip = f"The picture as {', '.join(PICTURES)}, by the ending of the file."
        self.numbers.tooltip = f"The numbers behind it as {', '.join(TABLES)}, by the ending of the file."
        self.code.tooltip = "The lines that make this picture in a script."
        self.overwrite = W.Checkbox(description="overwrite", indent=False, layout=W.Layout(width="100px"))
        self.text = W.Textarea(layout=W.Layout(width="300px", height="150px", display="none"), disabled=False)
        for widget, action in (
            (self.picture, self._save_picture), (self.numbers, self._save_data), (self.code, self._copy),
        ):  # fmt: skip
            widget.on_click(lambda _, action=action: panel.guard("share", action))
        rows = [self.path, W.HBox([self.picture, self.numbers]), W.HBox([self.code, self.overwrite]), self.text]
        super().__init__([W.VBox(rows)], titles=("Save picture, data, code",), layout=W.Layout(width="312px"))

    def _ending(self, endings: tuple[str, ...]) -> Path:
        """The path of the box; where its ending is of the other kind, with the first of these."""
        path = Path(self.path.value.strip()).expanduser()
        if not path.name:
            raise ValueError("Expected a path, got an empty one; write it in the box.")
        other = PICTURES if endings is TABLES else TABLES
        return path.with_suffix(endings[0]) if path.suffix in (*other, "") else path

    def _save_picture(self) -> None:
        path = self._ending(PICTURES)
        self._panel.save_figure(path, overwrite=self.overwrite.value)
        self._panel.tell("share", f"Saved the picture to {path}.")

    def _save_data(self) -> None:
        path = self._ending(TABLES)
        table = path.suffix == TABLES[0] and isinstance(self._panel.data(), pd.DataFrame)
        path = path.with_suffix(".csv") if table else path
        self._panel.save_data(path, overwrite=self.overwrite.value)
        self._panel.tell("share", f"Saved the data to {path}.")

    def _copy(self) -> None:
        self.text.value, self.text.layout.display = self._panel.code(), ""
        self._panel.view.copy(self.text.value)
        self._panel.tell("share", "The code is on the clipboard, and in the box below.")
