"""Stars to be refused, and what the tables of bad arguments share."""

from functools import lru_cache

import numpy as np
from astropy import units as u
from fakes import stars

from clearview.catalogs import (
    Catalog,
)

nan, inf = float("nan"), float("inf")
INJECTION = "1 OR 1=1; DROP TABLE gaiadr3.gaia_source --"
CALL = "__import__('os').system('touch ran')"


@lru_cache
def ball() -> Catalog:
    return stars(3000)


def alike(**columns) -> Catalog:
    """Stars of phase space with some columns all at one value."""
    data = ball()
    return data.with_columns(
        {n: u.Quantity(np.full(len(data), v, np.float32), data.unit(n)) for n, v in columns.items()}
    )


def held(act, panel):
    """The call on a panel, which is closed whatever happens."""

    def call():
        made = panel()
        try:
            return act(made)
        finally:
            made.close()

    return call


def written(name: str) -> None:
    """Lays down somebody's file."""
    with open(name, "w") as file:
        file.write("mine")
