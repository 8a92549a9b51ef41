"""Jobs: what is done stays done, whatever dies; and whoever looks sees how it stands."""

import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pandas as pd
import pytest
from astropy import units as u

from clearview import Job, jobs, mock_galaxy, open_catalog
from clearview.dynamics import ErrorBudget, MapConfig, PotentialConfig, load_map, save_budget, save_map
from clearview.dynamics.maps import default_config
from clearview.dynamics.series import PotentialSeries
from clearview.flows import CheckpointError, FitConfig, FlowConfig, Progress, checkpoint
from clearview.flows.fit import HISTORY
from clearview.panels import JobPanel
from clearview.panels.worker import Every
from clearview.units import SUN

WAIT = 120
CONFIG = MapConfig(
    radius=4.0, positions=FlowConfig(1, 4), velocities=FlowConfig(1, 4),
    training=FitConfig(epochs=2, min_steps=0, batch_size=256, seconds_per_report=0.0),
    potential=None,
)  # fmt: skip


@pytest.fixture(scope="module")
def stars():
    return mock_galaxy(3000, seed=4)


@pytest.fixture(scope="module")
def real(stars, tmp_path_factory):
    """A finished job, and a copy of its task at each of its checkpoints."""
    job = Job.create(tmp_path_factory.mktemp("real") / "job", stars, CONFIG, every=0)
    copies = []

    def keep(*args, **kwargs):
        save_map(*args, **kwargs)
        copies.append(shutil.copytree(job._folder(0), job.directory.parent / f"copy{len(copies)}"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "save_map", keep)
        assert job.run().state == "finished"
    return job, copies


class FakeFit:
    """Stands in for `fit_map`: the finished map under another seed, after some steps with a checkpoint each."""

    def __init__(self, done, steps=4, pause=0.0, every=1):
        self.done, self.steps, self.pause, self.begun, self.told = done, steps, pause, [], 0
        self.turn = threading.Lock()

    def __call__(self, stars, config=None, *, resume=None, on_progress, on_checkpoint, checkpoint):
        config = config or resume.config
        first = 0 if resume is None else len(resume.history)
        with self.turn:
            self.begun.append((config.seed, first))
        if resume is not None and resume.stopped == "finished":
            return resume
        for step in range(first, self.steps):
            rows = [("positions", i + 1, 2.0 - i, 1.5) for i in range(step + 1)]
            history = pd.DataFrame(rows, columns=HISTORY)
            made = dataclasses.replace(
                self.done, config=config, stage=0, stopped="cancelled", message="Cut off.", history=history
            )
            on_checkpoint(made)
            time.sleep(self.pause)
            self.told += 1
            left = self.steps - step - 1
            if not on_progress(Progress(
                "positions", step + 1, self.steps, 1.0, left, 1.0, 1.0, history, (step + 1) / self.steps
            )):  # fmt: skip
                return dataclasses.replace(made, message="Cancelled.")
        return dataclasses.replace(self.done, config=config, message=f"Done with seed {config.seed}.")


@pytest.fixture
def fake(real, monkeypatch):
    made = FakeFit(real[0].result())
    monkeypatch.setattr(jobs, "fit_map", made)
    monkeypatch.setattr(jobs, "POLL", 0.02)
    return made


@pytest.fixture
def path(real):
    """A file of stars."""
    return real[0].directory / "stars.parquet"


def same(a, b):
    for one, other in zip(jax.tree.leaves((a.density, a.series)), jax.tree.leaves((b.density, b.series)), strict=True):
        np.testing.assert_array_equal(one, other)


def until(ready) -> None:
    deadline = time.monotonic() + WAIT
    while not ready() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ready()


# ---- a real map


def test_cut_off_at_any_checkpoint_it_ends_as_if_undisturbed(real, tmp_path):
    job, copies = real
    stages = [load_map(copy / "map.clearview").stage for copy in copies]
    assert stages == sorted(stages)
    assert set(stages) == {0, 1, 2}
    last = [len(stages) - 1 - stages[::-1].index(stage) for stage in (0, 1)]
    for number in last:  # in the middle of the positions, and of the velocities
        there = Job(shutil.copytree(job.directory, tmp_path / str(number)))
        shutil.rmtree(there._folder(0))
        shutil.copytree(copies[number], there._folder(0))
        fit = load_map(there._path(0))
        assert fit.stage == last.index(number)
        assert fit.state is not None
        assert there.status.state != "finished"
        with pytest.raises(ValueError, match="task 0 is not"):
            there.result()
        assert there.run().state == "finished"
        same(there.result(), job.result())


def test_a_damaged_checkpoint_gives_way_to_the_one_before_and_says_so(real, tmp_path):
    job, _ = real
    there = Job(shutil.copytree(job.directory, tmp_path / "job"))
    data = bytearray(there._path(0).read_bytes())
    data[len(data) // 2] ^= 1
    there._path(0).write_bytes(data)
    with pytest.raises(CheckpointError, match="run again"):
        there.result()
    status = there.run()
    assert status.state == "finished"
    assert "truncated or damaged" in status.message
    assert "goes on from what is good" in status.message
    same(there.result(), job.result())


# ---- with a stand-in


def test_a_job_is_written_down_once(fake, path, tmp_path):
    given = dict(scan={"seed": range(2), "training.epochs": [2]}, every=5)
    job = Job.create(tmp_path / "job", path, CONFIG, **given)
    assert [config.seed for config in job.configs] == [0, 1]
    assert repr(Job.create(tmp_path / "job", path, CONFIG, **given)) == repr(job)
    assert (job.status.state, job.status.tasks) == ("waiting", {"waiting": 2})
    with pytest.raises(FileExistsError, match="another job"):
        Job.create(tmp_path / "job", path, CONFIG)
    with pytest.raises(ValueError, match="has not begun"):
        job.result()


def test_a_scan_runs_cancels_and_goes_on(fake, path, tmp_path):
    fake.pause = 0.03
    job = Job.create(tmp_path / "job", path, CONFIG, scan={"seed": np.arange(3)})
    seen = []

    def twice(status):
        seen.append(status)
        return fake.told < 6

    status = job.run(on_progress=twice)
    assert status.state == "cancelled"
    assert status.tasks["finished"] == 1
    assert len(fake.begun) <= 2
    assert seen[1].state == "running"
    assert [s.fraction for s in seen] == sorted(s.fraction for s in seen)
    assert job.result(0).config.seed == 0
    with pytest.raises(ValueError, match="Cancelled"):
        job.result()
    before = len(fake.begun)
    status = job.run()
    assert (status.state, status.fraction, status.tasks) == ("finished", 1.0, {"finished": 3})
    assert fake.begun[before + 1][0] == 1
    assert fake.begun[before + 1][1] > 1  # from its checkpoint
    assert [fit.config.seed for fit in job.result()] == [0, 1, 2]
    assert list(status.history.columns) == HISTORY
    assert "Task 2 (seed=2): finished" in (job.directory / "log.txt").read_text()


def test_a_task_that_fails_does_not_keep_the_others_from_their_work(fake, path, tmp_path, monkeypatch):
    def fit(stars, config=None, **kwargs):
        if config.seed == 0:
            raise ValueError("Expected at least 4 stars, got 3; use more.")
        return fake(stars, config, **kwargs)

    monkeypatch.setattr(jobs, "fit_map", fit)
    job = Job.create(tmp_path / "job", path, CONFIG, scan={"seed": [0, 1]})
    status = job.run()
    assert (status.state, status.tasks) == ("failed", {"finished": 1, "failed": 1})
    assert "Task 0 (seed=0): Expected at least 4 stars, got 3" in status.message
    monkeypatch.setattr(jobs, "fit_map", fake)
    assert job.run().state == "finished"


def test_two_runners_share_the_tasks_and_never_one_task(fake, path, tmp_path):
    fake.pause = 0.05
    job = Job.create(tmp_path / "job", path, CONFIG, scan={"seed": range(4)})
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: Job(job.directory).run(), range(2)))
    assert job.run().state == "finished"
    assert sorted(seed for seed, first in fake.begun if first == 0) == [0, 1, 2, 3]


def test_tasks_over_workers(fake, path, tmp_path):
    """Whatever has ``submit`` as Dask's client does."""
    job = Job.create(tmp_path / "job", path, CONFIG, scan={"seed": range(4)})
    with ThreadPoolExecutor(2) as pool:
        assert job.run(client=pool).state == "finished"
    assert len(job.result()) == 4


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tasks_over_a_cluster_of_dask(fake, path, tmp_path):
    distributed = pytest.importorskip("distributed")
    job = Job.create(tmp_path / "job", path, CONFIG, scan={"seed": range(3)})
    with (
        distributed.LocalCluster(1, processes=False, threads_per_worker=2, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert job.run(client=client).state == "finished"
        shutil.rmtree(job._folder(1))
        assert job.run(client=client).state == "finished"  # and is no remembered answer
    assert [fit.config.seed for fit in job.result()] == [0, 1, 2]


def test_a_full_disk(fake, path, tmp_path, monkeypatch):
    fake.pause = 0.05
    job = Job.create(tmp_path / "job", path, CONFIG)
    fsync, full = checkpoint.os.fsync, threading.Event()

    def fill(handle):
        if full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(checkpoint.os, "fsync", fill)
    with pytest.raises(OSError, match="the disk is full; free some and run the job again"):
        job.run(on_progress=lambda status: full.set() if fake.told > 1 else None)
    assert job.status.state == "failed"  # written into the old file, since a new one has no room
    assert "the disk is full" in job.status.message
    assert not list(job.directory.rglob("*.partial"))
    kept = len(load_map(job._path(0)).history)
    assert kept > 1
    full.clear()
    assert job.run().state == "finished"
    assert fake.begun[-1] == (0, kept)


def test_stars_on_the_disk_stay_there(fake, real, stars, tmp_path):
    stars.write(tmp_path / "stars.parquet")
    open_catalog(tmp_path / "stars.parquet").prepare(tmp_path / "columns")
    job = Job.create(tmp_path / "job", tmp_path / "columns", CONFIG)
    assert isinstance(job._stars().phase_space, np.memmap)
    assert job.run().state == "finished"
    assert job.result().data_digest == stars.digest()
    header = tmp_path / "columns" / "columns.json"
    header.write_text(header.read_text().replace('"rows": 3000', '"rows": 2999'))
    with pytest.raises(ValueError, match="has changed since"):
        job.run()


def test_stars_that_vanish_or_change(fake, path, stars, tmp_path):
    copy = shutil.copy(path, tmp_path / "stars.parquet")
    job = Job.create(tmp_path / "job", copy, CONFIG)
    fake.pause = 0.05  # or it is done before it can be cancelled
    job.run(on_progress=lambda status: fake.told < 2)
    copy.rename(tmp_path / "elsewhere.parquet")
    begun = len(fake.begun)
    with pytest.raises(FileNotFoundError, match=r"stars\.parquet, got nothing there; put it back"):
        job.run()
    with pytest.raises(FileNotFoundError, match="put it back"):
        job.start()
    assert (job.status.state, "got nothing there" in job.status.message) == ("failed", True)
    stars.take(np.arange(len(stars)) > 9).write(copy)
    with pytest.raises(ValueError, match=r"stars\.parquet has changed"):
        job.run()
    assert len(fake.begun) == begun
    (tmp_path / "elsewhere.parquet").replace(copy)
    assert job.run().state == "finished"
    assert fake.begun[-1][1] > 0


def test_nothing_good_is_left_of_a_task(fake, path, tmp_path):
    job = Job.create(tmp_path / "job", path, CONFIG)
    job.run()
    for file in (job._path(0), checkpoint.before(job._path(0))):
        file.write_bytes(file.read_bytes()[:-3])
    status = job.run()
    assert status.state == "finished"
    assert "no good checkpoint before it: this task begins again" in status.message
    assert fake.begun[-1] == (0, 0)


def of_another_version(file):
    """Its bytes under another version of the format."""
    line, payload = file.read_bytes().split(b"\n", 1)
    file.write_bytes(json.dumps(json.loads(line) | {"version": 99}).encode() + b"\n" + payload)


def test_checkpoints_of_another_version_are_left_alone(fake, path, tmp_path):
    job = Job.create(tmp_path / "job", path, CONFIG)
    job.run()
    of_another_version(job._path(0))
    before = {file: file.read_bytes() for file in job._folder(0).glob("map*")}
    begun = len(fake.begun)
    status = job.run()
    assert (status.state, "version 99" in status.message) == ("failed", True)
    assert before == {file: file.read_bytes() for file in job._folder(0).glob("map*")}
    assert len(fake.begun) == begun
    with pytest.raises(CheckpointError, match=r"use that ClearView\.$"):
        job.result()


@pytest.fixture
def budgeted(real, path, tmp_path, monkeypatch):
    """A job with an error budget that is its map alone, and how often that was made."""
    job = Job.create(
        tmp_path / "job", path, dataclasses.replace(CONFIG, potential=PotentialConfig(degree=2)), budget=True
    )
    done = real[0].result()
    series = PotentialSeries(job.config.center, done.radius, 1.0, job.config.potential)
    central = dataclasses.replace(done, config=job.config, series=series, stage=3)
    made = []

    def stand_in(stars, *, path, resume, **_):
        made.append(resume)
        budget = ErrorBudget(central, stopped="finished", message="Done.")
        save_budget(budget, path, overwrite=True)
        return budget

    monkeypatch.setattr(jobs, "error_budget", stand_in)
    monkeypatch.setattr(jobs, "POLL", 0.02)
    assert job.run().state == "finished"
    return job, made


def test_a_budget_of_another_version_is_left_alone(budgeted):
    job, made = budgeted
    of_another_version(job._path(0) / "central")
    before = {file: file.read_bytes() for file in job._path(0).iterdir()}
    status = job.run()
    assert (status.state, "version 99" in status.message) == ("failed", True)
    assert before == {file: file.read_bytes() for file in job._path(0).iterdir()}
    assert len(made) == 1


def test_a_budget_without_its_map_is_set_aside(budgeted):
    job, made = budgeted
    for number in ("", 1):
        (job._path(0) / "central").write_bytes(b"")
        assert job.run().state == "finished"
        assert (job._folder(0) / f"budget.damaged{number}" / "budget").exists()
    assert made == [None] * 3


def test_checkpoints_of_another_job_are_refused(fake, path, tmp_path):
    job = Job.create(tmp_path / "job", path, CONFIG)
    job.run()
    (job.directory / "job.json").unlink()
    other = Job.create(tmp_path / "job", path, dataclasses.replace(CONFIG, seed=5))
    assert "those of another" in other.run().message


# ---- who looks


def test_a_runner_that_is_killed_is_not_running_for_ever(fake, path, tmp_path, monkeypatch):
    job = Job.create(tmp_path / "job", path, CONFIG)
    job.run()
    status = job._folder(0) / "status.json"
    told = json.loads(status.read_bytes()) | {"state": "running"}
    status.write_text(json.dumps(told | {"until": time.time() + 60}))
    assert job.status.state == "running"
    status.write_text(json.dumps(told | {"until": time.time() - 1}))
    assert job.status.state == "stopped"
    assert "without a word" in job.status.message


TOLD = {
    "state": "running", "message": "", "lost": "", "fraction": 0.5, "seconds": 1.0, "until": 4e9, "remaining": 1.0,
    "history": None,
}  # fmt: skip
STRANGE = [
    json.dumps(TOLD | {name: value})
    for name in ("fraction", "seconds", "until", "remaining")
    for value in (float("nan"), float("inf"), 10**400, "x")
]


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"state": "running"}', "[" * 9999, *STRANGE])
def test_a_status_that_cannot_be_read_is_none(fake, path, tmp_path, text):
    job = Job.create(tmp_path / "job", path, CONFIG)
    job.run()
    for file in job.directory.rglob("status.json"):
        file.write_text(text)
    assert job.status.state == "waiting"
    assert job.run().state == "finished"  # at once: the checkpoints know
    assert fake.begun[-1][1] > 0


def test_the_signs_go_on_while_the_work_says_nothing(fake, path, tmp_path, monkeypatch):
    begun, go_on = threading.Event(), threading.Event()

    def fit(*args, **kwargs):
        begun.set()
        go_on.wait(WAIT)
        return fake(*args, **kwargs)

    monkeypatch.setattr(jobs, "fit_map", fit)
    job = Job.create(tmp_path / "job", path, CONFIG)
    thread = threading.Thread(target=job.run)
    thread.start()
    assert begun.wait(WAIT)
    for file in (job.directory / "status.json", job._folder(0) / "status.json"):
        first = jobs._read_status(file)["until"]
        until(lambda file=file, first=first: jobs._read_status(file)["until"] > first)
    assert job.status.state == "running"
    go_on.set()
    thread.join(WAIT)
    assert job.status.state == "finished"


# ---- job.json


def job_json(job, **changes):
    """The file with changes and a right digest."""
    whole = json.loads((job.directory / "job.json").read_bytes())
    plan = whole["job"] | changes
    return json.dumps(whole | {"job": plan, "sha256": checkpoint._plan_digest(plan)})


HOSTILE = {
    "code as a config": {"config": {"__reduce__": ["os.system", "touch /tmp/x"]}},
    "a config that is a text": {"config": "__import__('os')"},
    "an unknown setting": {"config": MapConfig().to_dict() | {"shell": "true"}},
    "a scan of what is none": {"scan": {"potential.__class__": [1]}},
    "a scan of a method": {"scan": {"to_dict.x": [1]}},
    "a scan without values": {"scan": {"seed": []}},
    "a scan of a number": {"scan": {"seed": 3}},
    "a scan without end": {"scan": {f"training.{name}": [1] * 999 for name in ("epochs", "min_steps")}},
    "a budget of something": {"budget": {"command": 1}},
    "a budget of half a member": {"budget": {"training": 2.5}},
    "a budget of one": {"budget": {"training": 1}},
    "a negative interval": {"every": -1},
    "an interval that is a list": {"every": [1]},
    "stars that are a list": {"data": {"path": ["a"], "sha256": "", "digest": ""}},
    "no stars": {"data": {}},
    "nothing": {"data": None},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_job_that_makes_no_sense_is_refused_in_a_sentence(fake, path, tmp_path, name):
    job = Job.create(tmp_path / "job", path, CONFIG)
    (job.directory / "job.json").write_text(job_json(job, **HOSTILE[name]))
    with pytest.raises(ValueError, match=r"^Expected a job that makes sense, got .*Job\.create\.$"):
        Job(job.directory)


def test_stars_with_other_errors_are_other_stars(stars, tmp_path):
    """Though their phase space is the same."""
    told = {"name": np.array(["a", "bc", ""] * 1000), "gap": np.ma.masked_equal(np.arange(len(stars)), 7)}
    noisy = stars.with_columns({"parallax_error": np.full(len(stars), 0.1) * u.mas, **told})
    job = Job.create(tmp_path / "job", noisy, CONFIG)
    assert Job.create(tmp_path / "job", noisy, CONFIG).directory == job.directory
    for other in (stars, noisy.with_columns({"parallax_error": np.full(len(stars), 0.2) * u.mas})):
        assert other.digest() == noisy.digest()
        with pytest.raises(FileExistsError, match="holds other stars"):
            Job.create(tmp_path / "job", other, CONFIG)
    assert sorted(file.name for file in job.directory.iterdir()) == ["job.json", "stars.parquet"]


def test_without_a_config_it_is_the_map_that_fit_map_would_make(stars, tmp_path):
    elsewhere = stars.with_columns({}, meta={"sun": SUN._replace(R=8.0).to_dict()})
    job = Job.create(tmp_path / "job", elsewhere)
    assert job.config == default_config(elsewhere)
    assert job.config.center == tuple(elsewhere.sun.position) != MapConfig().center


def test_numbers_of_numpy_are_numbers(path, tmp_path):
    config = dataclasses.replace(CONFIG, potential=PotentialConfig(degree=2))
    job = Job.create(
        tmp_path / "job", path, config, budget={"training": np.int64(2)}, every=np.float32(2),
        scan={"center": np.array([[8.1, 0, 0], [8.2, 0, 0]]), "seed": [np.int64(3)]},
    )  # fmt: skip
    assert (job.budget, job.every) == ({"training": 2, "bootstrap": 4, "measurement": None}, 2.0)
    assert [config.center for config in job.configs] == [(8.1, 0.0, 0.0), (8.2, 0.0, 0.0)]
    assert job.configs[0].seed == 3
    for task in ("x", 2, -1, 0.5, None, True):
        with pytest.raises(ValueError, match="task 0 has not begun" if task is None else "task as a whole number"):
            job.result(task)
    with pytest.raises(ValueError, match="task 1 has not begun"):
        job.result(np.int64(1))


def test_a_job_stays_where_it_is(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Job.create("job", path, CONFIG)
    job = Job("job")
    monkeypatch.chdir(tmp_path.parent)
    assert job.status.state == "waiting"
    job.cancel()
    assert (tmp_path / "job" / "cancel").exists()


def test_the_tasks_are_made_once_however_many_there_are(fake, path, tmp_path, monkeypatch):
    job = Job.create(tmp_path / "job", path, CONFIG, scan={"seed": range(3)})

    def never(*_):
        raise AssertionError("made again")

    monkeypatch.setattr(jobs, "_tasks", never)
    assert job.run().state == "finished"
    assert "Task 2 (seed=2): finished" in (job.directory / "log.txt").read_text()


def test_stars_are_on_the_disk_before_they_have_their_name(stars, tmp_path, monkeypatch):
    class CutOffError(Exception):
        pass

    def cut(handle):
        assert not (tmp_path / "job" / "stars.parquet").exists()
        raise CutOffError

    monkeypatch.setattr(jobs.os, "fsync", cut)
    with pytest.raises(CutOffError):
        Job.create(tmp_path / "job", stars, CONFIG)
    assert not list((tmp_path / "job").iterdir())


def test_what_killed_runners_left_is_swept(fake, path, tmp_path):
    job = Job.create(tmp_path / "job", path, CONFIG)
    old, young = job.directory / ".status.json.1.2.partial", job.directory / ".status.json.3.4.partial"
    for file in (old, young):
        file.write_bytes(b"x")
    os.utime(old, (0, 0))
    job.run()
    assert (old.exists(), young.exists()) == (False, True)


@pytest.mark.parametrize("text", ["", "{}", "[]", "nonsense", "[" * 99999, '{"format": "clearview job"}'])
def test_a_foreign_file_is_no_job(tmp_path, text):
    (tmp_path / "job.json").write_text(text)
    with pytest.raises(ValueError, match="damaged or was changed"):
        Job(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no job\.json"):
        Job(tmp_path / "nothing")


def test_any_wrong_byte_of_a_job_is_refused_and_what_is_done_survives(fake, path, tmp_path):
    job = Job.create(tmp_path / "job", path, CONFIG)
    job.run()
    file = job.directory / "job.json"
    good = file.read_bytes()
    for place in range(0, len(good), 7):
        file.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        try:
            assert Job(job.directory).configs == job.configs
        except ValueError as problem:
            assert str(problem).startswith("Expected a job")  # noqa: PT017  (some bytes change nothing)
    file.unlink()
    assert Job.create(job.directory, path, CONFIG).run().state == "finished"
    assert fake.begun[-1][1] > 0


def test_refused_before_anything_is_written(path, stars, tmp_path):
    for problem, given in {
        "such as 'seed'": dict(scan={"sed": [1]}),
        "put it in brackets": dict(scan={"seed": 1}),
        "at most 10,000 tasks": dict(scan={"seed": range(20_000)}),
        "no or at least 2 members": dict(budget={"training": 1}),
        "budget of training, bootstrap, measurement": dict(budget={"members": 3}),
        "every as a number": dict(every=float("nan")),
    }.items():
        with pytest.raises(ValueError, match=problem):
            Job.create(tmp_path / "job", path, CONFIG, **given)
    with pytest.raises(FileNotFoundError, match="catalogue file"):
        Job.create(tmp_path / "job", tmp_path / "nothing.parquet", CONFIG)
    assert not (tmp_path / "job").exists()


# ---- processes, the command line, the panel


def test_the_command_line(fake, path, tmp_path, capsys):
    job = Job.create(tmp_path / "job", path, CONFIG)
    job.cancel()
    assert jobs.main(["run", str(job.directory), "--started"]) == 1
    assert "cancelled" in capsys.readouterr().out
    assert jobs.main(["run", str(job.directory)]) == 0
    assert jobs.main(["status", str(job.directory)]) == 0
    assert "finished, 100%: Done with seed 0." in capsys.readouterr().out
    assert jobs.main(["status", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("Expected a job in")


def test_a_job_of_its_own_process_is_cancelled_and_forgotten_by_nobody(path, tmp_path, made):
    """A real one, which is far from its end when it is cancelled."""
    long = dataclasses.replace(CONFIG, training=FitConfig(epochs=10_000))
    job = Job.create(tmp_path / "job", path, long)
    job.start()
    assert job.status.state == "running"
    with pytest.raises(RuntimeError, match="is running"):
        job.start()
    panel = made(JobPanel(job, every=0.05))
    until(lambda: len(job.status.history) > 3)
    until(lambda: panel.loss.frame and panel.fraction.value >= 0)
    panel.stop.click()
    until(lambda: job.status.state == "cancelled")
    jobs._children[-1].wait(WAIT)
    until(lambda: "Cancelled: " in panel.words.value)
    assert load_map(job._path(0)).state is not None


def test_the_panel_says_how_it_stands(fake, path, tmp_path, made):
    job = Job.create(tmp_path / "job", path, CONFIG, scan={"seed": [0, 1]})
    panel = made(JobPanel(job.directory, threaded=False))
    assert (panel.go.description, panel.go.disabled, panel.stop.disabled) == ("Run", False, True)
    assert "Waiting" in panel.words.value
    assert panel.loss.layout.display == "none"
    fake.pause = 0.05
    job.run(on_progress=lambda status: fake.told < 6)
    panel.refresh()
    assert "Cancelled" in panel.words.value
    assert "1 finished, 1 cancelled" in panel.counts.value
    assert (panel.go.description, panel.fraction.bar_style) == ("Resume", "warning")
    assert panel.loss.layout.display == ""
    job.run()
    panel.refresh()
    assert (panel.fraction.value, panel.fraction.bar_style, panel.go.disabled) == (1.0, "success", True)
    (job.directory / "stars.parquet").unlink(missing_ok=True)
    job._data["path"] = "gone"
    panel.job = SimpleNamespace(
        **{name: getattr(job, name) for name in ("status", "configs", "cancel")}, start=job._stars
    )
    panel.go.disabled = False
    panel.go.click()
    assert "got nothing there" in panel.words.value


def test_the_panel_says_what_keeps_it_from_looking_and_goes_on(fake, path, tmp_path, made):
    job = Job.create(tmp_path / "job", path, CONFIG)
    looks = []

    class Broken:
        directory, configs = job.directory, job.configs

        @property
        def status(self):
            looks.append(1)
            if len(looks) > 3:
                return job.status
            raise ValueError("Expected a disk, got none; plug it in.")

    panel = made(JobPanel(job, threaded=False))
    panel.job = Broken()
    panel._watch = Every(panel._see, 0.2)
    until(lambda: "plug it in" in panel.words.value)
    until(lambda: "Waiting" in panel.words.value)


def test_the_panel_draws_a_loss_curve_once(fake, path, tmp_path, made, monkeypatch):
    job = Job.create(tmp_path / "job", path, CONFIG)
    fake.pause = 0.05
    panel, drawn = made(JobPanel(job, threaded=False)), []
    monkeypatch.setattr(panel.loss, "show", lambda element, **told: drawn.append(told["n"]))
    job.run(on_progress=lambda status: panel.refresh())
    for _ in range(3):
        panel.refresh()
    assert drawn
    assert len(drawn) == len(set(drawn))


def test_runners_that_ended_are_forgotten(path, tmp_path, monkeypatch):
    child = subprocess.Popen([sys.executable, "-c", ""])
    monkeypatch.setattr(jobs, "_children", [child])
    child.wait(WAIT)
    alive = SimpleNamespace(poll=lambda: None)
    monkeypatch.setattr(jobs.subprocess, "Popen", lambda *_, **__: alive)
    Job.create(tmp_path / "job", path, CONFIG).start()
    assert jobs._children == [alive]


# ---- the drill


@pytest.mark.slow
def test_killed_at_twenty_random_moments_and_on_a_full_disk():
    script = Path(__file__).parent / "benchmarks" / "faults.py"
    done = subprocess.run(
        [sys.executable, str(script), "--tiny", "--seeds", "1", "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result["kills"] >= 20
    assert result["resumed_equal"] == 1, done.stdout[-4000:]
    assert result["max_rel_difference"] == 0
