"""Faults: a job that is killed, whose files are damaged, whose disk fills up and whose stars vanish.

    python tests/benchmarks/faults.py [--json] [--seeds 3] [--kills 40]

The job is an error budget of a small map. Every time its result must be that of the job left alone: ``resumed_equal``
is the fraction of the drills in which it is, ``max_rel_difference`` the largest relative difference of any number in
the maps. ``kills`` counts the SIGKILLs, each at a random moment of the time that the whole job takes;
``lost_seconds_median`` are those between a kill and the checkpoint before it. ``damaged``: one wrong byte, or half of
the file gone, in each of the job's files, one after the other; ``refused`` of them (the plan and the stars) in a
sentence, the others made good. ``tmpfs`` is 1 where the disk was a real one that was full (root on Linux), 0 where that
was only played.

Each run is forked from this process, which has loaded everything and computed nothing, since JAX takes seconds to load.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

SCRATCH = Path(tempfile.mkdtemp(prefix="clearview-faults-"))
os.environ |= {
    "JAX_COMPILATION_CACHE_DIR": str(SCRATCH / "cache"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}  # fmt: skip

# JAX takes the above from the environment as it is imported, hence the order.
import common  # noqa: E402
import jax  # noqa: E402
import numpy as np  # noqa: E402

from clearview import mock_galaxy  # noqa: E402
from clearview.dynamics import MapConfig, PotentialConfig  # noqa: E402
from clearview.flows import FitConfig, FlowConfig, checkpoint  # noqa: E402
from clearview.jobs import Job  # noqa: E402

WAIT = 600


def arguments(parser):
    parser.add_argument("--kills", type=int, default=40, help="SIGKILLs a seed")


def begin(function, *args) -> int:
    """The process that calls it, which ends with 0 for True, 1 for False and 2 for an exception, told in `SAID`."""
    if pid := os.fork():
        return pid
    code = 2
    try:
        code = 0 if function(*args) else 1
    except BaseException as error:
        SAID.write_text(f"{type(error).__name__}: {error}")
    finally:
        os._exit(code)


SAID = SCRATCH / "said"


def ended(pid: int, seconds: float) -> int | None:
    """The exit code, or None if it still runs after so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.005)


def whole(function, *args) -> int | None:
    return ended(begin(function, *args), WAIT)


def create(path: Path, seed: int, tiny: bool) -> bool:
    size, width, layers = (3000, 4, 1) if tiny else (20_000, 24, 2)
    config = MapConfig(
        radius=4.0, positions=FlowConfig(layers, width), velocities=FlowConfig(layers, width), seed=seed,
        training=FitConfig(epochs=4, min_steps=0, batch_size=256, seconds_per_report=0.01),
        potential=PotentialConfig(stars=size, degree=2 if tiny else 6),
    )  # fmt: skip
    Job.create(
        path, mock_galaxy(size, seed=seed), config, every=0.0 if tiny else 0.5,
        budget=dict(training=2, bootstrap=2, measurement=0),
    )  # fmt: skip
    return True


def go(path: Path) -> bool:
    return Job(path).run().state == "finished"


def play_full(path: Path, marker: Path) -> bool:
    fsync = os.fsync

    def fill(handle):
        if marker.exists():
            raise OSError(28, "No space left on device")
        fsync(handle)

    checkpoint.os.fsync = fill
    return go(path)


def compare(path: Path, reference: Path) -> bool:
    """The largest relative difference, told in `SAID`."""
    leaves = []
    for job in (path, reference):
        budget = Job(job).result()
        maps = [budget.central, *(m for part in budget.parts.values() for m in part)]
        leaves.append([np.asarray(leaf, float) for m in maps for leaf in jax.tree.leaves((m.density, m.series))])
    worst = max(
        float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1e-30), initial=0.0)) if a.shape == b.shape else np.inf
        for a, b in zip(*leaves, strict=True)
    )
    SAID.write_text(json.dumps(worst))
    return True


class Drill:
    """Copies of one job, and what became of them."""

    def __init__(self, folder: Path, seed: int, tiny: bool):
        self.folder, self.differences, self.unequal = folder, [], 0
        self.fresh, self.done = folder / "fresh", folder / "done"
        if whole(create, self.fresh, seed, tiny) != 0:
            raise SystemExit(f"Expected a job, got: {SAID.read_text()}")
        for _ in range(2):  # the first compiles
            shutil.rmtree(self.done, ignore_errors=True)
            shutil.copytree(self.fresh, self.done)
            began = time.monotonic()
            if whole(go, self.done) != 0:
                raise SystemExit(f"Expected a finished job, got: {SAID.read_text()}")
            self.seconds = time.monotonic() - began
        self.count = 0

    def copy(self, source: Path, folder: Path | None = None) -> Path:
        self.count += 1
        return Path(shutil.copytree(source, (folder or self.folder) / f"job{self.count}"))

    def judge(self, what: str, path: Path) -> None:
        """Whether a job ends now, with the same result."""
        if whole(go, path) != 0 or whole(compare, path, self.done) != 0:
            self.unequal += 1
            print(f"{what}: {SAID.read_text() if SAID.exists() else 'not finished'}", flush=True)
            return
        self.differences.append(json.loads(SAID.read_text()))
        shutil.rmtree(path)


def checkpoints(path: Path) -> list[Path]:
    return [file for file in (path / "0000" / "budget").glob("*") if file.is_file()]


def kill(drill: Drill, rng, count: int) -> list[float]:
    """The seconds that each kill cost."""
    lost, path = [], drill.copy(drill.fresh)
    while len(lost) < count:
        began = time.time()
        pid = begin(go, path)
        code = ended(pid, rng.uniform(0, drill.seconds))
        if code is None:
            os.kill(pid, signal.SIGKILL)
            now = time.time()
            os.waitpid(pid, 0)
            lost.append(max(0.0, now - max([began, *(file.stat().st_mtime for file in checkpoints(path))])))
        else:
            drill.judge("killed", path)
            path = drill.copy(drill.fresh)
    drill.judge("killed", path)
    return lost


def damage(drill: Drill, rng) -> tuple[int, int]:
    """How many files were damaged, and how many of these refused."""
    refused = 0
    files = sorted(
        file.relative_to(drill.done) for file in drill.done.rglob("*")
        if file.is_file() and file.name not in ("lock", "log.txt") and not file.name.endswith(".before")
    )  # fmt: skip
    for number, name in enumerate(files):
        path = drill.copy(drill.done)
        data = bytearray((path / name).read_bytes())
        if number % 2:
            data = data[: len(data) // 2]
        else:
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        (path / name).write_bytes(data)
        SAID.unlink(missing_ok=True)
        if name.parent == Path() and name.suffix in (".json", ".parquet") and name.stem != "status":
            code, said = whole(go, path), SAID.read_text() if SAID.exists() else ""
            refused += code == 2 and said.startswith("ValueError: Expected")
            drill.unequal += not (code == 2 and said.startswith("ValueError: Expected"))
            (path / name).write_bytes((drill.done / name).read_bytes())
        drill.judge(f"damaged {name}", path)
    return len(files), refused


def fill(drill: Drill, rng) -> bool:
    """Whether it was a real disk that was full."""
    disk = drill.folder / "disk"
    disk.mkdir()
    size = 4 * sum(file.stat().st_size for file in drill.done.rglob("*") if file.is_file())
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    with_root = hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("mount") is not None
    real = with_root and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        ballast, latest = disk / "ballast", 0.7
        for _ in range(10):  # a machine that is less busy than before may end the job before its disk is full
            path = drill.copy(drill.fresh, disk)
            pid = begin(go, path) if real else begin(play_full, path, ballast)
            code = ended(pid, rng.uniform(0.3, 1.0) * latest * drill.seconds)
            if code is None:
                break
            shutil.rmtree(path)
            latest /= 1.5
        try:
            with open(ballast, "wb", buffering=0) as file:
                for step in (65536, 512, 1):
                    while real and file.write(b"x" * step) == step:
                        pass
        except OSError:
            pass
        code = ended(pid, WAIT) if code is None else code
        said = SAID.read_text() if SAID.exists() else ""
        if code != 2 or "the disk is full; free some" not in said:
            drill.unequal += 1
            print(f"full disk: ended with {code}, {said}", flush=True)
        if Job(path).status.state != "failed":
            drill.unequal += 1
            print(f"full disk: {Job(path).status}", flush=True)
        ballast.unlink()
        drill.judge("full disk", path)
    finally:
        if real:
            subprocess.run(["umount", str(disk)], check=True)
    return real


def vanish(drill: Drill, rng) -> None:
    path = drill.copy(drill.fresh)
    pid = begin(go, path)
    if ended(pid, rng.uniform(0.2, 0.7) * drill.seconds) is None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    (path / "stars.parquet").rename(path / "gone")
    kept = {file: file.read_bytes() for file in checkpoints(path)}
    SAID.unlink(missing_ok=True)
    code, said = whole(go, path), SAID.read_text() if SAID.exists() else ""
    if code != 2 or "got nothing there; put it back" not in said or kept != {f: f.read_bytes() for f in kept}:
        drill.unequal += 1
        print(f"vanished stars: ended with {code}, {said}", flush=True)
    (path / "gone").rename(path / "stars.parquet")
    drill.judge("vanished stars", path)


def run(seed, args):
    rng, folder = np.random.default_rng(seed), SCRATCH / str(seed)
    folder.mkdir()
    try:
        drill = Drill(folder, seed, args.tiny)
        print(f"left alone: {drill.seconds:.1f} s", flush=True)
        lost = kill(drill, rng, 20 if args.tiny else args.kills)
        print(f"killed {len(lost)} times: {lost}", flush=True)
        damaged, refused = damage(drill, rng)
        real = fill(drill, rng)
        vanish(drill, rng)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return dict(
        kills=len(lost), resumed_equal=1 - drill.unequal / (drill.unequal + len(drill.differences)),
        max_rel_difference=max(drill.differences, default=np.inf), lost_seconds_median=float(np.median(lost)),
        undisturbed_seconds=drill.seconds, damaged=damaged, refused=refused, tmpfs=float(real),
    )  # fmt: skip


if __name__ == "__main__":
    try:
        common.main(__doc__, run, add_arguments=arguments)
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)
