"""Maps of up to ten million stars and more, from files on the disk: time, memory, frames.

    python tests/benchmarks/scale.py [--json] [--seeds 1] [--sizes 1e5,1e6,1e7]

Stars of a plain disc are written as Parquet files of 500,000. Each size then has a process of its own, which opens
them, cuts, prepares and maps them: two small flows, one pass each, and a rough potential. ``seconds_1e6`` are those of
one pass of both flows over 10^6 stars without compiling (the passes are whole, at 10^7 too), ``exponent`` the slope of
ln seconds against ln stars, ``read_rows_per_second`` those of the largest size on their way from the files to the
prepared columns. ``memory_1e6_mb`` is the most anonymous memory that the process has had by the end of the map
(RssAnon; where there is no /proc, all that is resident), ``memory_ratio_10x`` that of the largest size over that of a
tenth as many stars; ``resident_1e6_mb`` counts the pages of mapped files too, which the system takes back when it
needs them. ``frame_ms_1e7`` is the median time in which all stars are counted on 600 x 600 cells, over five views.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import common
import numpy as np

PART = 500_000
SIZES, TINY = "1e5,1e6,1e7", "2e4,2e5"


def arguments(parser):
    parser.add_argument("--sizes", default=SIZES, help="numbers of stars, growing")
    parser.add_argument(
        "--folder", default=None, help="where the files are made, 100 bytes a star; else a temporary one"
    )


def write(folder: Path, size: int, seed: int) -> None:
    """A disc without correlations around the Sun: what stars cost does not depend on what they are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    units = {"x": "kpc", "y": "kpc", "z": "kpc", "vx": "km / s", "vy": "km / s", "vz": "km / s"}
    fields = pa.schema([pa.field(name, pa.float32(), metadata={"unit": unit}) for name, unit in units.items()])
    for number, first in enumerate(range(0, size, PART)):
        rng, count = np.random.default_rng([seed, number]), min(PART, size - first)
        x = rng.normal(size=(count, 3))
        x *= 4.05 * rng.random((count, 1)) ** (1 / 3) / np.linalg.norm(x, axis=1, keepdims=True)
        phi = np.arctan2(x[:, 1], x[:, 0] + 8.12)
        v = rng.normal(size=(count, 3)) * (38, 28, 20) - (0, 215, 0)
        turned = (v[:, 0] * np.cos(phi) - v[:, 1] * np.sin(phi), v[:, 0] * np.sin(phi) + v[:, 1] * np.cos(phi), v[:, 2])
        columns = [x[:, 0] + 8.12, x[:, 1], x[:, 2] + 0.02, *turned]
        pq.write_table(
            pa.table([c.astype(np.float32) for c in columns], schema=fields), folder / f"{number:04d}.parquet"
        )


class Anonymous:
    """The most anonymous memory of this process, MB, asked for fifty times a second."""

    def __init__(self):
        self.most, self._end = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def now(self) -> float:
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
        except OSError:
            return common.peak_memory_mb()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))

    def _watch(self):
        while not self._end.wait(0.02):
            self.most = max(self.most, self.now())

    def stop(self) -> float:
        self._end.set()
        self._thread.join()
        return self.most


def measure(folder: Path, seed: int) -> dict[str, float]:
    """All of one size; called in a process of its own."""
    memory = Anonymous()
    from clearview import MapConfig, PotentialConfig, fit_map, open_catalog
    from clearview.catalogs import Ball
    from clearview.flows import FitConfig, FlowConfig

    began = time.monotonic()
    large = open_catalog(folder).to_galactocentric().select(Ball(4))
    stars = large.prepare(folder.with_name(f"{folder.name}-columns"))
    result = {"read": large.rows / (time.monotonic() - began)}
    small = FlowConfig(layers=2, width=32)
    config = MapConfig(
        radius=4.0, positions=small, velocities=small, training=FitConfig(epochs=1, min_steps=0, batch_size=4096),
        potential=PotentialConfig(stars=50_000, degree=6), seed=seed,
    )  # fmt: skip
    seen: dict[str, list[tuple[float, int, int]]] = {}
    fit = fit_map(
        stars, config, on_progress=lambda p: seen.setdefault(p.stage, []).append((p.seconds, p.step, p.total))
    )
    if not fit.has_potential:
        raise SystemExit(f"Expected a finished map, got: {fit.message}")
    result["seconds"] = 0.0
    for stage in ("positions", "velocities"):
        (begin, first, total), (end, last, _) = next(s for s in seen[stage] if s[1]), seen[stage][-1]
        result["seconds"] += (end - begin) * total / (last - first)
    result |= {"memory": memory.stop(), "resident": common.peak_memory_mb()}
    from clearview.field import Axis
    from clearview.figures import count_field

    x, y, took = stars["x"], stars["y"], []
    for zoom in (1.0, 1.0, 0.8, 0.5, 0.2, 0.1):  # the first compiles
        axes = Axis("x", 8.1 - 4 * zoom, 8.1 + 4 * zoom, 600, "kpc"), Axis("y", -4 * zoom, 4 * zoom, 600, "kpc")
        began = time.monotonic()
        count_field(x, y, axes)
        took.append(1000 * (time.monotonic() - began))
    return result | {"frame": float(np.median(took[1:]))}


def run(seed, args):
    sizes = [round(float(size)) for size in (TINY if args.tiny and args.sizes == SIZES else args.sizes).split(",")]
    found = {}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for size in sizes:
            write(Path(folder, str(size)), size, seed)
            call = [sys.executable, __file__, "measure", str(Path(folder, str(size))), str(seed)]
            lines = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
            found[size] = json.loads(lines[-1])
            print(f"{size:,} stars: " + ", ".join(f"{k} {v:,.4g}" for k, v in found[size].items()), flush=True)
    result, largest = {}, sizes[-1]
    for size, told in found.items():
        name = f"{size:.0e}".replace("e+0", "e")
        result |= {f"seconds_{name}": told["seconds"], f"memory_{name}_mb": told["memory"]}
        result |= {f"resident_{name}_mb": told["resident"], f"frame_ms_{name}": told["frame"]}
    if largest // 10 in found:
        result["memory_ratio_10x"] = found[largest]["memory"] / found[largest // 10]["memory"]
    if len(sizes) > 1:
        result["exponent"] = np.polyfit(np.log(sizes), np.log([found[size]["seconds"] for size in sizes]), 1)[0]
    return result | {"read_rows_per_second": found[largest]["read"]}


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        print(json.dumps(measure(Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        common.main(__doc__, run, seeds=1, add_arguments=arguments)
