"""Which files are of one run: report.json holds the hash of each of them.

A run that is killed while its files appear leaves new ones beside old ones, and the
report, which comes last, tells. Cost: the files are read once more, 2 s a GB.
"""

import json
import pathlib
from typing import Any

from gfa_jax.datasets.fingerprints import is_other


def read_report(folder: pathlib.Path) -> dict[str, Any] | None:
    """Reads report.json where a run has left one, with the hashes of its files."""
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        is_report = isinstance(report["outputs"] | report["inputs"], dict)
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None
    return report if is_report else None


def differing(
    folder: pathlib.Path, report: dict[str, Any], *, quick: bool = False
) -> list[str]:
    """Lists the outputs that are not the report's, or not there; see `is_other`."""
    return [
        name
        for name, stored in report["outputs"].items()
        if is_other(folder / name, stored, quick=quick)
    ]
