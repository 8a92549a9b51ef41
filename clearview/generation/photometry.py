"""Magnitudes and colours for stars that have none: a simple locus, or a table of isochrones."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from astropy import units as u
from scipy.spatial import KDTree

from clearview import checks
from clearview.catalogs import Catalog
from clearview.catalogs.select import sun_distance
from clearview.mocks.isochrones import StellarPopulation
from clearview.mocks.photometry import distance_modulus

_GROUPS = ("age", "metallicity")


@dataclass(frozen=True)
class Photometry:
    """How stars get G and BP - RP, without dust.

    Attributes:
        table: Parquet or CSV file with columns ``M_G`` and ``bp_rp`` [mag], one row a place on an isochrone, and where
            there are any ``weight`` (relative number of stars, by default one each), ``age`` [Gyr] and ``metallicity``
            [dex], by which stars with such columns find their nearest isochrone. None takes ``population``.
        population: a simple locus: ridge lines and a luminosity function of old stars, see
            `clearview.mocks.StellarPopulation`; one for all stars.
        faintest: M_G of the faintest stars that are drawn, mag. The stars are those brighter than this, whatever their
            distance; cut at an apparent magnitude afterwards.

    Raises:
        FileNotFoundError, ValueError: for a table that is not there, or none of isochrones.
    """

    table: str | Path | None = None
    population: StellarPopulation = field(default_factory=StellarPopulation)
    faintest: float = 0.99

    def __post_init__(self):
        checks.parts(self)
        checks.numbers(self, faintest=(-3.9, 16))
        if self.table is not None and not len(self._rows):
            raise ValueError(
                f"Expected rows with M_G up to {self.faintest:g}, got none in {self.table}; raise faintest."
            )

    def of(self, stars: Catalog, seed: int = 0) -> Catalog:
        """The stars with phot_g_mean_mag and bp_rp [mag].

        Raises:
            KeyError: if they have no places.
            ValueError: for ages or metallicities that are not finite or not in such units, or an isochrone of theirs
                that has no star bright enough.
        """
        rng = np.random.default_rng([checks.number("seed", seed, *checks.SEEDS, whole=True), 0x9407])
        M, colour = (
            self.population.draw(np.full(len(stars), self.faintest), rng)
            if self.table is None
            else self._rows.draw(stars, rng)
        )
        G = M + distance_modulus(sun_distance(stars))
        return stars.with_columns({
            "phot_g_mean_mag": u.Quantity(G.astype(np.float32), u.mag),
            "bp_rp": u.Quantity(colour.astype(np.float32), u.mag),
        })  # fmt: skip

    @cached_property
    def _rows(self) -> "_Isochrones":
        return _Isochrones(checks.path_of(self.table), self.faintest)


class _Isochrones:
    """The rows of a table, by isochrone, drawn down to a magnitude."""

    def __init__(self, path: Path, faintest: float):
        if not path.is_file():
            raise FileNotFoundError(f"Expected a table of isochrones at {path}, got no such file; check the path.")
        if path.suffix not in (".parquet", ".csv"):
            raise ValueError(f"Expected a table as .parquet or .csv, got {path.name}; convert it.")
        try:
            rows: Any = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
        except (OSError, ValueError) as problem:
            raise ValueError(
                f"Expected a table that can be read, got {path} ({checks.sentence(problem)})."
            ) from problem
        if missing := [name for name in ("M_G", "bp_rp") if name not in rows]:
            raise ValueError(f"Expected the columns M_G and bp_rp, got no {missing[0]} in {path}; rename yours.")
        if "weight" not in rows:
            rows["weight"] = 1.0
        names = [name for name in _GROUPS if name in rows]
        used = rows[["M_G", "bp_rp", "weight", *names]]
        try:
            values = used.to_numpy(float)
        except (TypeError, ValueError):
            values = np.full((1, 3), np.nan)
        if not np.isfinite(values).all() or (values[:, 2] < 0).any():
            raise ValueError(f"Expected finite numbers and no negative weights in {path}, got others; correct them.")
        self.names, self.values, self.faintest = names, values, faintest
        self.keys, self.group = np.unique(values[:, 3:], axis=0, return_inverse=True)
        self.group = self.group.ravel()

    def __len__(self):
        return int(self._counted.sum())

    @property
    def _counted(self) -> np.ndarray:
        return (self.values[:, 0] <= self.faintest) & (self.values[:, 2] > 0)

    def draw(self, stars: Catalog, rng) -> tuple[np.ndarray, np.ndarray]:
        """(N,) M_G and (N,) BP - RP."""
        names = [name for name in self.names if name in stars]
        found = np.zeros((len(stars), 0)) if not names else np.stack([_seen(stars, n) for n in names], axis=1)
        keys = self.keys[:, [self.names.index(name) for name in names]]
        # Where stars lack a column, all isochrones that differ in it alone are one.
        keys, merged = np.unique(keys, axis=0, return_inverse=True)
        group, scale = merged.ravel()[self.group], np.where(np.ptp(keys, axis=0) > 0, np.ptp(keys, axis=0), 1.0)
        nearest = KDTree(keys / scale).query(found / scale)[1] if names else np.zeros(len(stars), int)
        chosen = np.empty(len(stars), int)
        for g in np.unique(nearest):
            rows, mine = np.flatnonzero((group == g) & self._counted), nearest == g
            if not len(rows):
                where = ", ".join(f"{name} {value:g}" for name, value in zip(names, keys[g], strict=True))
                raise ValueError(
                    f"Expected stars down to M_G = {self.faintest:g} on each isochrone, got none on that of {where}; "
                    "raise faintest."
                )
            weight = self.values[rows, 2]
            chosen[mine] = rng.choice(rows, np.count_nonzero(mine), p=weight / weight.sum())
        return self.values[chosen, 0], self.values[chosen, 1]


def _seen(stars: Catalog, name: str) -> np.ndarray:
    """(N,) ages [Gyr] or metallicities [dex]; a column without a unit has these."""
    values, unit = np.ma.filled(np.ma.asarray(stars[name], float), np.nan), stars.unit(name)
    if name == "age" and unit is not None:
        try:
            values = values * unit.to(u.Gyr)
        except u.UnitConversionError as problem:
            raise ValueError(f"Expected ages in a unit of time, got {unit}; correct the unit.") from problem
    if bad := np.count_nonzero(~np.isfinite(values)):
        raise ValueError(f"Expected finite {name}, got {bad:,} of {len(values):,} others; cut those stars.")
    return values
