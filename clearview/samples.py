"""Catalogues and the first map that ship with the package; ``python -m clearview.samples`` makes the map anew."""

import argparse
from importlib.resources import files
from pathlib import Path

from clearview.catalogs import Catalog, read_catalog
from clearview.checks import shown
from clearview.dynamics import MapConfig, MapFit, fit_map, load_map, save_map
from clearview.mocks import mock_galaxy

SAMPLES = {
    "mock_100k": "100,000 stars in equilibrium in MWPotential2014 within 4 kpc of the Sun: the truth is known",
    "gd1_strip": "25,084 real stars along 10 deg of the GD-1 stream, with any proper motion: Gaia DR2",
    "rave_tgas": "19,864 real stars within 300 pc: RAVE DR5 velocities, Gaia DR1 (TGAS) astrometry",
    "gc_streams": "5,390 real members of the streams of ten globular clusters: Gaia DR3",
}


def _path(name: str) -> Path:
    return Path(str(files("clearview") / "data" / name))


def load_sample(name: str) -> Catalog:
    """A catalogue that ships with the package (sources and credits in DATA.md).

    Raises:
        ValueError: for a name that is not in `SAMPLES`.
    """
    if name not in tuple(SAMPLES):
        raise ValueError(f"Expected a sample among {', '.join(SAMPLES)}, got {name!r}; choose one of them.")
    return read_catalog(_path(f"{name}.parquet"))


def load_gc_stream(name: str) -> Catalog:
    """The members of one of the streams of ``gc_streams``, such as "NGC_5904" (M5).

    Raises:
        ValueError: for a name that is not among them.
    """
    members = load_sample("gc_streams")
    if name not in (names := sorted(set(members["stream"].tolist()))):
        raise ValueError(f"Expected a stream among {', '.join(names)}, got {shown(name)}; choose one of them.")
    return members.take(members["stream"] == name)


def load_first_map() -> tuple[Catalog, MapFit]:
    """The mock_100k catalogue and a map learnt from it, ready to be drawn without training."""
    return load_sample("mock_100k"), load_map(_path("first_map.clearview"))


def main() -> None:
    """Remake the shipped mock and map: about three minutes on two cores."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=_path(""), help="folder to write to (default: the package's data)")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    mock_galaxy(100_000, seed=2026).write(out / "mock_100k.parquet", overwrite=True)
    fit = fit_map(
        read_catalog(out / "mock_100k.parquet"), MapConfig(radius=4.0),
        on_progress=lambda p: print(f"\r{p.stage:16s} {p.fraction:6.1%} loss {p.train_loss:.4f}", end="", flush=True),
    )  # fmt: skip
    print(f"\n{fit.message}")
    save_map(fit, out / "first_map.clearview", overwrite=True)


if __name__ == "__main__":
    main()
