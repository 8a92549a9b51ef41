"""Binder: what repo2docker would do with the repository, without Docker, and where versions are named."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TEXT = (".yml", ".yaml", ".txt", ".cfg", ".toml", ".md", ".ipynb", "")


def environment(path):
    return yaml.safe_load((ROOT / path).read_text())


def tracked():
    """The files that are in the repository or about to be, relative to it."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git checkout, so it is not known which files Binder would have")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()]


@pytest.fixture
def copy(tmp_path):
    for path in tracked():
        (tmp_path / "src" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, tmp_path / "src" / path)
    return tmp_path / "src"


def test_repo2docker_takes_the_files_of_binder(copy):
    pytest.importorskip("repo2docker", reason="jupyter-repo2docker is not installed (it is in the test extra)")
    plan = subprocess.run(
        [sys.executable, "-m", "repo2docker", "--no-build", "--debug", str(copy)],
        cwd=copy.parent, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    said = plan.stdout + plan.stderr
    assert plan.returncode == 0, said
    python = re.search(r"Building conda environment for python=(\S+)", said)
    assert python is not None
    assert f"python={python[1]}" in environment("binder/environment.yml")["dependencies"]
    assert re.findall(r'--file "(.*?)"', said) == ["binder/environment.yml"]
    copied = re.findall(r"^COPY .* (?:src/)?(\S+) \$\{REPO_DIR\}/\S+$", said, re.MULTILINE)
    assert "binder/environment.yml" in copied
    assert "environment.yml" not in copied
    assert re.search(r"^RUN \./binder/postBuild$", said, re.MULTILINE)


def test_environments_name_no_package():
    binder, root = environment("binder/environment.yml"), environment("environment.yml")
    python, *rest = binder["dependencies"]
    assert rest == ["pip"]
    assert root["dependencies"] == [python, "pip", {"pip": ["-e ."]}]
    version = re.fullmatch(r"python=(3\.\d+)", python)
    assert version is not None
    assert version[1] in SpecifierSet(PROJECT["requires-python"])


def test_versions_live_in_pyproject_alone():
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    names = {Requirement(line).name for line in (*PROJECT["dependencies"], *extras)}
    pinned = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, names))})(\[[\w,]+\])?\s*[=<>~!]=?\s*\d", re.IGNORECASE)
    assert pinned.search("  - numpy>=2")
    for path in tracked():
        if path.suffix in TEXT and path.name != "pyproject.toml":
            found = pinned.search((ROOT / path).read_text())
            assert found is None, f"{path}: {found and found[0]}"


@pytest.mark.slow
def test_post_build_runs(copy, tmp_path):
    """As on Binder, with a pip that only notes what it was asked; the home folder is warm afterwards."""
    home, tools = tmp_path / "home", tmp_path / "bin"
    home.mkdir()
    tools.mkdir()
    (tools / "pip").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/pip.txt\n')
    (tools / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    assert os.access(copy / "binder" / "postBuild", os.X_OK)
    result = subprocess.run(
        ["./binder/postBuild"], cwd=copy, capture_output=True, text=True, timeout=300,
        env={"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(home), "PYTHONPATH": str(copy)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "pip.txt").read_text() == "install --no-cache-dir .\n"
    assert list(home.rglob("fontlist*.json"))


def test_the_warm_up_is_the_first_cell():
    cells = json.loads((ROOT / "notebooks" / "01_first_map.ipynb").read_text())["cells"]
    first = "".join(next(cell for cell in cells if cell["cell_type"] == "code")["source"])
    warm = (ROOT / "binder" / "postBuild").read_text()
    for call in re.findall(r"clearview\.(\w+)\(", warm.splitlines()[-1]):
        assert f"clearview.{call}(" in first
