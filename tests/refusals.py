"""What a refusal is: one sentence of our own, before anything is written or long work begins."""

import re
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir

from clearview.catalogs import GaiaError
from clearview.catalogs.columns import ColumnError
from clearview.catalogs.formats import FormatError
from clearview.catalogs.select import NoStars
from clearview.flows import CheckpointError
from clearview.flows.checkpoint import OtherVersion
from clearview.interop import OutsideBallError

OURS = {
    ValueError, TypeError, FileNotFoundError, FileExistsError, IsADirectoryError, RuntimeError, ColumnError,
    FormatError, NoStars, CheckpointError, OtherVersion, GaiaError, OutsideBallError, MemoryError,
}  # fmt: skip
"""Exactly these, not what libraries make of them, such as a UnicodeDecodeError."""

HOUSE = re.compile(r"Expected \S.*\bgot\b.*; \S.*[.?]")
LONGEST = 2000


def verdict(act) -> str:
    """Empty if ``act()`` is refused as it should be, else what is wrong with how it ended."""
    try:
        found = act()
    except Exception as problem:
        text = str(problem)
        if type(problem) not in OURS:
            return f"{type(problem).__name__}: {text[:300]}"
        if not HOUSE.fullmatch(text) or len(text) > LONGEST:
            return f"no sentence of the house ({len(text)} letters): {text[:300]!r}"
        return ""
    return f"accepted: {object.__repr__(found)}"


def files(folder) -> dict[str, bytes | None]:
    """All that lies in a folder, hidden files too."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


WATCHED = ("os.system", "subprocess.Popen", "socket.connect", "socket.getaddrinfo", "pickle.find_class", "os.exec")
_seen: list[str] | None = None


def _hook(event: str, told) -> None:
    if _seen is None:
        return
    if event in WATCHED and not str(told[0]).startswith(("_operator", "dask.")):  # as they are imported
        _seen.append(f"{event} {told!r:.100}")
    elif event == "open" and isinstance(told[0], str) and set(told[1] or "") & set("wax+"):
        _seen.append(f"write {Path(told[0]).absolute()}")


sys.addaudithook(_hook)  # cannot be taken away again, only told to look elsewhere


@contextmanager
def nothing_runs(folder):
    """What is done within opens no pickle, starts no process, asks no network, and writes to ``folder`` only."""
    global _seen
    before, _seen = _seen, []
    try:
        yield
    finally:
        found, _seen = _seen, before
    # Besides the folder: files without a name, compiled modules, and what hypothesis keeps.
    fine = re.compile(rf"write ({folder}/.*|/dev/null|{gettempdir()}|.*(__pycache__|\.hypothesis).*)")
    found = [event for event in found if not fine.fullmatch(event)]
    assert not found, found[:5]
    assert not list(folder.rglob("ran"))
