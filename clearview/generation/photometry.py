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
            there are any ``weight`` (relative number of stars, by default one each), ``age`` and ``metallicity``, by
            which stars with such columns of the same units find their nearest isochrone. None takes ``population``.
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
    """The rows of a table down to a magnitude, by isochrone."""

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
        values = values[(values[:, 0] <= faintest) & (values[:, 2] > 0)]
        self.names, self.values = names, values
        self.keys, self.group = np.unique(values[:, 3:], axis=0, return_inverse=True)
        self.group = self.group.ravel()

    def __len__(self):
        return len(self.values)

    def draw(self, stars: Catalog, rng) -> tuple[np.ndarray, np.ndarray]:
        """(N,) M_G and (N,) BP - RP."""
        names = [name for name in self.names if name in stars]
        found = np.zeros((len(stars), 0)) if not names else np.stack([stars[n].astype(float) for n in names], axis=1)
        keys = self.keys[:, [self.names.index(name) for name in names]]
        # Where stars lack a column, all isochrones that differ in it alone are one.
        keys, merged = np.unique(keys, axis=0, return_inverse=True)
        group, scale = merged.ravel()[self.group], np.where(np.ptp(keys, axis=0) > 0, np.ptp(keys, axis=0), 1.0)
        nearest = KDTree(keys / scale).query(found / scale)[1] if names else np.zeros(len(stars), int)
        chosen = np.empty(len(stars), int)
        for g in np.unique(nearest):
            rows, mine = np.flatnonzero(group == g), nearest == g
            weight = self.values[rows, 2]
            chosen[mine] = rng.choice(rows, np.count_nonzero(mine), p=weight / weight.sum())
        return self.values[chosen, 0], self.values[chosen, 1]
