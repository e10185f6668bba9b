"""The command `gfa`: the name of a program, then its flags.

    gfa refine --features=embeddings.npy --labels=labels.npy

A program is imported when its name is called, so that none pays for another.
"""

import importlib
import sys

import gfa_jax
from gfa_jax.programs import cli

_USAGE = """usage: gfa PROGRAM --flag=value …

  gfa refine    refines a file of embeddings and shows what it did to verification
  gfa cluster   clusters a file of embeddings after refining them
  gfa tune      learns the parameters from labels
  gfa streamed  refines a file that does not fit in memory

gfa PROGRAM --help: its flags"""
PROGRAMS = ("refine", "cluster", "tune", "streamed")
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
        expected = ", ".join(PROGRAMS)
        print(f"gfa: got {name!r}; expected one of {expected}", file=sys.stderr)
        sys.exit(_USAGE_ERROR)
