"""The command `gfa`: the name of a program, then its flags.

    gfa refine --features=embeddings.npy --labels=labels.npy

A program is imported when its name is called, so that none pays for another.
"""

import difflib
import importlib
import sys

import gfa_jax
from gfa_jax.programs import cli

PROGRAMS = {
    "refine": "refines a file of embeddings and shows what it did to verification",
    "cluster": "clusters a file of embeddings after refining them",
    "tune": "learns the parameters from labels",
    "verify": "shows how well embeddings verify; checks a folder of results",
    "gallery": "keeps a pool that grows and forgets, and looks new rows up in it",
    "streamed": "refines a file that does not fit in memory",
    "launch": "places the processes of a job on a Ray or a Dask cluster",
    "convert": "converts a file of features to another format, with its ids",
    "completion": "prints what lets bash or zsh complete programs, flags and files",
}
_USAGE = "\n".join(
    [
        "usage: gfa PROGRAM --flag=value …",
        "",
        *(f"  gfa {name:<11}{does}" for name, does in PROGRAMS.items()),
        "",
        "gfa PROGRAM --help: its flags; gfa --version",
    ]
)
_USAGE_ERROR = 2


def main() -> None:
    """Runs the program that the first argument names; a wrong name ends with code 2."""
    name, *rest = sys.argv[1:] or ["--help"]
    if name == "--version":
        print(gfa_jax.__version__)
    elif name in ("--help", "-h", "help"):
        print(_USAGE)
    elif name in PROGRAMS:
        sys.argv = [name, *rest]
        cli.run(importlib.import_module(f"gfa_jax.programs.{name}"))
    else:
        near = difflib.get_close_matches(name, PROGRAMS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        expected = ", ".join(PROGRAMS)
        print(f"gfa: got {name!r}; expected one of {expected}{hint}", file=sys.stderr)
        sys.exit(_USAGE_ERROR)
