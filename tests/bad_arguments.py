"""Stars to be refused, what the tables of bad arguments share, and the bad arguments of jobs."""

from functools import lru_cache, partial

import numpy as np
from astropy import units as u
from fakes import stars

from clearview import Job
from clearview.catalogs import Catalog

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


def job(stars=None, directory="job", **given):
    """A job of good stars but for what is given."""
    return Job.create(directory, ball() if stars is None else stars, **given)


def in_a_file(directory: str):
    written("file")
    return job(directory=directory)


KINDS = {
    f"Job.create: {name}={value!r:.60}": partial(job, **{name: value})
    for name, values in {
        "budget": (3, None, "yes", [1], {1: 2}, {"training": 1}, {"training": -2}, {"training": 2.5},
            {"training": True}, {"training": "2"}, {"training": None}, {"training": 10**400},
            {"measurement": 1}, {CALL: 2}),
        "scan": (3, "seed", [1], {1: [1]}, {"seed": 1}, {"seed": "12"}, {"seed": []}, {"seed": np.array(3)},
            {"sed": [1]}, {"seed": [np.float64(0.5)]}, {"seed": [None]}, {"seed": [object()]},
            {"seed": [nan]}, {"seed": [10**400]}, {"center": np.zeros((2, 2))}, {"center": np.full((2, 3), nan)},
            {"training": [[1]]}, {CALL: [1]},
            {"seed": range(20_000)}),
        "config": (3, "x", {"radius": 4}, CALL),
        "stars": (3, 2.5, [1], {}, object(), "nothing.parquet", "\0", "x" * 5000, "."),
        "directory": (None, 3, [], object(), "\0", "x" * 5000),
        "every": (-1, nan, inf, None, "30", True, [1], 10**400),
    }.items()
    for value in values
} | {
    "Job.create: a file as directory": lambda: in_a_file("file"),
    "Job.create: a directory in a file": lambda: in_a_file("file/job"),
    "Job: a file": lambda: (written("file"), Job("file")),
    **{f"Job({value!r:.60})": partial(Job, value) for value in (None, 3, 2.5, [], object(), "", ".", "none", "\0")},
}  # fmt: skip
