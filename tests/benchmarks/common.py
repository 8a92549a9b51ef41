"""What every benchmark shares: the command line, medians over seeds, and one flat JSON object as the last line."""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable

import numpy as np


def main(doc: str, run: Callable, *, seeds: int = 3, add_arguments: Callable | None = None) -> None:
    """Run ``run(seed, arguments) -> {key: number}`` for each seed; print medians and spreads (half the range)."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="last line: one flat JSON object")
    parser.add_argument("--seeds", type=int, default=seeds, help="independent repetitions")
    parser.add_argument("--first", type=int, default=0, help="the first seed: others than those a method was tuned on")
    parser.add_argument("--tiny", action="store_true", help="a budget of seconds: shows the keys, not the figures")
    if add_arguments:
        add_arguments(parser)
    arguments = parser.parse_args()
    rows = []
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        began = time.monotonic()
        row = run(seed, arguments)
        rows.append({**row, "seconds": time.monotonic() - began})
        print(f"seed {seed}: " + ", ".join(f"{k} {v:.4g}" for k, v in rows[-1].items()), flush=True)
    result = {"seeds": arguments.seeds}
    for key in rows[0]:
        values = [row[key] for row in rows]
        result[key] = float(np.median(values))
        result[f"{key}_spread"] = float((max(values) - min(values)) / 2)
    result["peak_memory_mb"] = peak_memory_mb()
    if arguments.json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            if not key.endswith("_spread"):
                print(f"{key:28s} {value:10.4g} ± {result.get(f'{key}_spread', 0):.2g}")


def peak_memory_mb() -> float:
    """Largest resident size of this process so far, MB."""
    scale = 1 / 1024**2 if sys.platform == "darwin" else 1 / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


if __name__ == "__main__":  # keys given as arguments must stand in the JSON object that ends the standard input
    last = json.loads(sys.stdin.read().strip().splitlines()[-1])
    absent = [key for key in sys.argv[1:] if not np.isfinite(last.get(key, np.nan))]
    sys.exit(f"Expected finite {', '.join(absent)} in the benchmark's last line, got {last}." if absent else 0)
