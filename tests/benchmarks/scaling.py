"""What a map and its members cost, against the number of stars and of members.

    python tests/benchmarks/scaling.py [--json] [--seeds 1] [--sizes 50,100,200,400,1000] [--members 2,4,16]

Stars (in thousands) are drawn from the shipped map: what they cost does not depend on what they are. ``total_s_100k``
are the seconds of a map with the defaults, ``peak_mb_100k`` the process's largest memory by then, sizes growing;
``exponent`` is the slope of ln seconds against ln stars from 100,000 on (below, compiling counts). ``members_s_4`` are
the seconds of an error budget with 4 trained members beside its map, at the smallest size, ``members_ratio_4`` those of
a member over those of the map itself, and ``members_exponent`` the slope over the numbers of members.
"""

import itertools
import time

import common
import numpy as np
from acceleration import map_config

from clearview import fit_map, load_first_map
from clearview.catalogs import Catalog
from clearview.dynamics import error_budget

TINY = "4,8", "2,3"


def arguments(parser):
    parser.add_argument("--sizes", default="50,100,200,400,1000", help="thousands of stars, growing")
    parser.add_argument("--members", default="2,4,16", help="numbers of members, growing")


def slope(key, x, y):
    """{key: of ln y against ln x}, or nothing for fewer than two."""
    return {key: np.polyfit(np.log(x), np.log(y), 1)[0]} if len(x) > 1 else {}


def run(seed, args):
    sizes, members = ([int(n) for n in text.split(",")] for text in (TINY if args.tiny else (args.sizes, args.members)))
    _, shipped = load_first_map()
    config, result, took, smallest = map_config(seed, args.tiny), {}, {}, None
    for size in sizes:
        stars = shipped.sample(round(1030 * size), seed)  # a few fall out of the ball
        catalog, ends = Catalog.from_phase_space(stars[:, :3], stars[:, 3:]), {}
        smallest = catalog if size == sizes[0] else smallest
        began = time.monotonic()
        fit = fit_map(catalog, config, on_progress=lambda p, ends=ends: ends.update({p.stage: time.monotonic()}))
        if not fit.has_potential:
            raise SystemExit(f"Expected a finished map, got: {fit.message}")
        took[size] = time.monotonic() - began
        marks = [began, *ends.values()]
        result |= {f"{name}_s_{size}k": b - a for name, (a, b) in zip(ends, itertools.pairwise(marks), strict=True)}
        result |= {f"total_s_{size}k": took[size], f"peak_mb_{size}k": common.peak_memory_mb()}
        print(f"{size}k stars: {took[size]:.0f} s, {common.peak_memory_mb():.0f} MB", flush=True)
    large = [size for size in sizes if size >= 100]
    large = large if len(large) > 1 else sizes
    result |= slope("exponent", large, [took[size] for size in large])

    assert smallest is not None
    seconds = []
    began = time.monotonic()
    fit_map(smallest, config)  # compiled by now
    alone = time.monotonic() - began
    for count in members:
        began = time.monotonic()
        error_budget(smallest, config, training=count, bootstrap=0, measurement=0)
        seconds.append(max(time.monotonic() - began - alone, 1e-3))
        result |= {f"members_s_{count}": seconds[-1], f"members_ratio_{count}": seconds[-1] / count / alone}
        print(f"{count} members: {seconds[-1]:.0f} s beside a map's {alone:.0f} s", flush=True)
    return result | slope("members_exponent", members, seconds)


if __name__ == "__main__":
    common.main(__doc__, run, seeds=1, add_arguments=arguments)
