"""Size and SHA-256 of files, by which a changed one is told: 2 s a GB."""

import hashlib
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

# Bytes of a file that is hashed to warn; of a larger one the size has to do.
_QUICK = 2**28


def fingerprint(path: pathlib.Path) -> dict[str, Any]:
    """Returns size and SHA-256 of a file, as report.json stores them.

    Of a folder of shards: of the parts that its manifest names; of another folder: of
    the names and sizes in it.
    """
    manifest = path / "manifest.json"
    if manifest.is_file():
        parts = json.loads(manifest.read_text(encoding="utf-8"))["shards"]
        return join(fingerprint(path / part["file"]) for part in parts)
    if path.is_dir():
        found = sorted((each.name, each.stat().st_size) for each in path.iterdir())
        digest = hashlib.sha256(repr(found).encode()).hexdigest()
        return {"bytes": sum(size for _, size in found), "sha256": digest}
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": file.tell(), "sha256": digest}


def join(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the fingerprint of a folder from those of its parts."""
    parts = [*parts]
    hashes = "".join(part["sha256"] for part in parts)
    return {
        "bytes": sum(part["bytes"] for part in parts),
        "sha256": hashlib.sha256(hashes.encode()).hexdigest(),
    }


def is_other(path: pathlib.Path, stored: Any, *, quick: bool = False) -> bool:
    """Tells whether a file is not the one of a fingerprint, by its size or its hash.

    `quick` does not hash a large file.
    """
    try:
        if quick and _QUICK < path.stat().st_size == stored["bytes"]:
            return False
        return fingerprint(path) != stored
    except (OSError, ValueError, TypeError, KeyError):
        return True
