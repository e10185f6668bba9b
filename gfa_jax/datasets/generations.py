"""A folder of arrays that goes from one generation to the next in one step.

    head.json        number, values, and file, size and SHA-256 of every array
    NAME-HASH.npy    an array each, which has its hash in its name

A writer adds its arrays, renames the head into place and then deletes what
the head does not name. So the folder holds a whole generation at any moment, a kill
takes at most the one that was being written, and what a generation leaves out is in no
file once it is in place (its blocks on the disk are not overwritten). A reader maps the
arrays of one head, and keeps them while another generation replaces them.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from gfa_jax.datasets.arrays import read_array, read_head
from gfa_jax.datasets.atomic import lock_folder, write_array, write_json
from gfa_jax.datasets.fingerprints import is_other
from gfa_jax.datasets.reading import one_line_errors

_HEAD = "head.json"
_FILE = re.compile(r"(\w+)-[0-9a-f]{16}\.npy")
_TYPES = {"number": int, "values": dict, "files": dict}


class Generation(NamedTuple):
    """What a folder holds."""

    number: int  # from 1 on
    arrays: dict[str, np.ndarray]  # by name, mapped read-only where read from a folder
    values: dict[str, Any]  # as JSON holds them


@contextlib.contextmanager
def only_writer(folder: pathlib.Path) -> Iterator[None]:
    """Keeps other writers out; a ValueError where one is in, or there is no folder."""
    try:
        descriptor = lock_folder(folder)
    except BlockingIOError as error:
        raise ValueError(
            f"{folder}: another process is writing to it; wait until it is done"
        ) from error
    except OSError as error:
        raise ValueError(f"cannot read {folder}: {error.strerror}") from error
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def write_generation(
    folder: pathlib.Path, generation: Generation, *, kind: tuple[str, int]
) -> None:
    """Writes a generation over the one before, as the only writer.

    Each array is hashed while it is written, and nothing else is read. Any failure is a
    ValueError that leaves the one before; what dead writers left is removed in any
    case.
    """
    files = {}
    try:
        for name, array in generation.arrays.items():
            fresh = folder / f".gfa_jax-{name}.npy"
            files[name] = write_array(fresh, array)
            fresh.replace(folder / _file(name, files[name]))
        about = {"format": kind[0], "version": kind[1], "number": generation.number}
        head = {**about, "values": generation.values, "files": files}
        write_json(folder / _HEAD, {**head, "sha256": _hash(head)})
    finally:
        named = _named(folder)
        for path in folder.iterdir():
            if _is_ours(path.name, generation.arrays) and path.name not in named:
                path.unlink(missing_ok=True)


@one_line_errors
def read_generation(
    folder: pathlib.Path, *, kind: tuple[str, int], whole: bool = False
) -> Generation:
    """Maps the arrays of the newest generation, while others may write.

    Files of up to 256 MB are held against their hashes, larger ones only where `whole`.
    A folder of anything else, of another version, damaged or half copied is a
    ValueError.
    """
    while True:
        head = _read_head(folder, kind)
        try:
            arrays = {}
            for name, stored in head["files"].items():
                path = folder / _file(name, stored)
                if is_other(path, stored, quick=not whole):
                    raise ValueError(
                        f"{folder} is not whole: {path.name} is missing or not as it "
                        "was written; copy the folder again"
                    )
                arrays[name] = read_array(path, key="")
        except ValueError:
            if _read_head(folder, kind) == head:
                raise
        else:
            return Generation(head["number"], arrays, head["values"])


def has_generation(folder: pathlib.Path) -> bool:
    """Tells whether a folder holds one, of whatever kind."""
    return (folder / _HEAD).exists()


def is_free(folder: pathlib.Path, names: Collection[str]) -> bool:
    """Tells whether a folder holds nothing, but for what dead writers of these left."""
    return all(_is_ours(path.name, names) for path in folder.iterdir())


def _is_ours(file: str, names: Collection[str]) -> bool:
    """Tells files of arrays of these names from those of somebody else."""
    found = _FILE.fullmatch(file)
    return file.startswith(".gfa_jax-") or bool(found and found[1] in names)


def _read_head(folder: pathlib.Path, kind: tuple[str, int]) -> dict[str, Any]:
    path = folder / _HEAD
    head = read_head(path, _TYPES, kind)
    names = [_file(*each) for each in head["files"].items()]
    if head.pop("sha256", None) != _hash(head) or not all(map(_FILE.fullmatch, names)):
        raise ValueError(f"{path} is not as it was written; copy the folder again")
    return head


def _named(folder: pathlib.Path) -> set[str]:
    """Lists the files of the head that stands, by whichever version it was written."""
    try:
        files = json.loads((folder / _HEAD).read_bytes())["files"]
    except FileNotFoundError:
        return set()
    return {_file(*each) for each in files.items()}


def _file(name: str, stored: Mapping[str, Any]) -> str:
    return f"{name}-{stored['sha256'][:16]}.npy"


def _hash(head: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(head, sort_keys=True).encode()).hexdigest()
