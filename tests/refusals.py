"""What a refusal is: one sentence of our own, before anything is written or long work begins."""

import re

from clearview.catalogs import GaiaError
from clearview.catalogs.columns import ColumnError
from clearview.catalogs.formats import FormatError
from clearview.flows import CheckpointError
from clearview.interop import OutsideBallError

OURS = {
    ValueError, TypeError, FileNotFoundError, FileExistsError, IsADirectoryError, RuntimeError, ColumnError,
    FormatError, CheckpointError, GaiaError, OutsideBallError, MemoryError,
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
