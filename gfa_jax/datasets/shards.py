"""A feature matrix in a folder of shards: `.npy` parts and a manifest that names them.

`manifest.json` holds

    format, version   "gfa_jax shards", 1
    rows, width       N and D of the whole matrix
    dtype             of every part: float16, float32, float64 or bfloat16
    shards            the parts in order: file, rows, sha256 of the file's bytes

The hashes are what `sha256sum` prints. A part has its hash in its name, so that new
parts never touch those of an older manifest, and the manifest is written last: a
reader sees the old matrix or the new one.
"""

import os
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gfa_jax.datasets.arrays import check_types, read_head
from gfa_jax.datasets.atomic import write_array, write_json
from gfa_jax.datasets.features import check_matrix, read_features
from gfa_jax.datasets.fingerprints import fingerprint
from gfa_jax.datasets.reading import one_line_errors
from gfa_jax.types import check_integer

_MANIFEST = "manifest.json"
_KIND = _FORMAT, _VERSION = "gfa_jax shards", 1
_KEYS = {"rows": int, "width": int, "dtype": str, "shards": list}
_PART_KEYS = {"file": str, "rows": int, "sha256": str}
_PART_NAME = re.compile(r"part-\d+-[0-9a-f]{16}\.npy")


class Part(NamedTuple):
    """What the manifest says of one part."""

    file: str  # its name in the folder
    rows: int  # at least 1
    sha256: str  # hexadecimal hash of the file's bytes


class Shards(NamedTuple):
    """An opened folder of shards; no row is read yet."""

    folder: pathlib.Path
    parts: tuple[Part, ...]  # in the order of their rows
    arrays: tuple[np.ndarray, ...]  # [n, D] memory map of each part
    dtype: np.dtype  # of every row

    @property
    def shape(self) -> tuple[int, int]:
        """N and D of the whole matrix."""
        return sum(part.rows for part in self.parts), self.arrays[0].shape[1]


def write_part(
    folder: str | os.PathLike[str], features: np.ndarray, *, number: int
) -> Part:
    """Writes part `number` atomically, under a name that no other content has.

    Args:
        folder: that exists.
        features: [n, D] float16, float32, float64 or bfloat16, n >= 1, streamed in
            blocks.
        number: of the part, from 0 on.

    Returns:
        Part, what the manifest is to say of it.

    Raises:
        ValueError: rows of another shape or dtype, or a file that cannot be written.
    """
    features = np.asarray(features)
    check_matrix(features, name=f"part {number}")
    if not len(features):
        raise ValueError(f"part {number} has no row; expected at least one")
    folder = pathlib.Path(folder)
    unnamed = folder / f".gfa_jax-part-{number}.npy"
    sha256 = write_array(unnamed, features)["sha256"]
    name = f"part-{number:05d}-{sha256[:16]}.npy"
    unnamed.replace(folder / name)
    return Part(name, len(features), sha256)


def write_manifest(folder: str | os.PathLike[str], parts: Sequence[Part]) -> None:
    """Writes the manifest, which makes parts a matrix; older parts are removed then.

    Args:
        folder: that holds the parts.
        parts: in the order of their rows.

    Raises:
        ValueError: parts that `open_shards` would refuse, or a file that cannot be
            written; the older manifest and its parts are then as they were.
    """
    shards = open_parts(folder, parts)
    rows, width = shards.shape
    manifest = {
        "format": _FORMAT,
        "version": _VERSION,
        "rows": rows,
        "width": width,
        "dtype": shards.dtype.name,
        "shards": [part._asdict() for part in parts],
    }
    write_json(shards.folder / _MANIFEST, manifest)
    named = {part.file for part in parts}
    for path in shards.folder.iterdir():
        if _PART_NAME.fullmatch(path.name) and path.name not in named:
            path.unlink(missing_ok=True)


def write_shards(
    folder: str | os.PathLike[str], features: np.ndarray, *, rows_per_shard: int
) -> None:
    """Writes [N, D] features as a folder of shards, the manifest last.

    Args:
        folder: made where it is missing.
        features: [N, D], see `write_part`.
        rows_per_shard: rows of each part but the last, >= 1.

    Raises:
        ValueError: what `write_part` and `write_manifest` refuse.
    """
    check_integer("rows_per_shard", rows_per_shard, least=1)
    if not len(features):
        raise ValueError("features have no row; expected at least one")
    folder = pathlib.Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot make {folder}: {error.strerror}") from error
    starts = range(0, len(features), rows_per_shard)
    parts = [
        write_part(folder, features[start : start + rows_per_shard], number=number)
        for number, start in enumerate(starts)
    ]
    write_manifest(folder, parts)


def open_parts(folder: str | os.PathLike[str], parts: Sequence[Part]) -> Shards:
    """Opens parts that no manifest names yet; the first one sets width and dtype.

    Args:
        folder: that holds them.
        parts: in the order of their rows.

    Returns:
        Shards, as of `open_shards`.

    Raises:
        ValueError: what `open_shards` refuses of parts.
    """
    folder, parts = pathlib.Path(folder), tuple(parts)
    _check_names(folder, parts)
    arrays = tuple(read_features(folder / part.file) for part in parts)
    for part, array in zip(parts, arrays, strict=True):
        for what, got, expected in (
            ("rows", len(array), part.rows),
            ("columns", array.shape[1], arrays[0].shape[1]),
            ("dtype", array.dtype.name, arrays[0].dtype.name),
        ):
            if got != expected:
                raise ValueError(
                    f"{folder / part.file}: got {what} {got}, expected {expected} as "
                    "the manifest or the first shard says; write the shards again"
                )
    return Shards(folder, parts, arrays, arrays[0].dtype)


@one_line_errors
def open_shards(folder: str | os.PathLike[str]) -> Shards:
    """Opens a folder of shards and checks everything but the hashes.

    Files that `manifest.json` does not name are ignored; the rows stay on the disk.

    Args:
        folder: that holds the manifest.

    Returns:
        Shards, of which `read_rows` reads.

    Raises:
        ValueError: no manifest or one that is damaged; a part that is missing, named
            twice, there twice under two names, of another width or dtype, or with
            more or fewer rows than the manifest says.
    """
    folder = pathlib.Path(folder)
    manifest = read_head(folder / _MANIFEST, _KEYS, _KIND)
    for number, entry in enumerate(manifest["shards"]):
        check_types(entry, _PART_KEYS, f"{folder / _MANIFEST}, shard {number}")
    parts = [Part(*(entry[key] for key in _PART_KEYS)) for entry in manifest["shards"]]
    shards = open_parts(folder, parts)
    told = [manifest[key] for key in ("rows", "width", "dtype")]
    held = [*shards.shape, shards.dtype.name]
    if told != held:
        raise ValueError(
            f"{folder}: the manifest says rows, width and dtype {told}, its "
            f"{len(parts)} shards hold {held}; write the manifest again"
        )
    return shards


def read_rows(shards: Shards, start: int, stop: int) -> np.ndarray:
    """Reads the rows [start, stop), hashing the parts that they lie in.

    Cost: one pass over every part touched, also where few of its rows are read.

    Args:
        shards: see `open_shards`.
        start: first row.
        stop: one after the last.

    Returns:
        [stop − start, D] of the stored dtype: a memory map where one part holds all
        the rows, otherwise a copy.

    Raises:
        ValueError: rows outside the matrix, or a part whose bytes are not those that
            the manifest hashed.
    """
    num_rows = shards.shape[0]
    if not 0 <= start < stop <= num_rows:
        raise ValueError(f"rows {start} to {stop} asked; expected 0 to {num_rows}")
    pieces, first = [], 0
    for part, array in zip(shards.parts, shards.arrays, strict=True):
        low, high = max(start - first, 0), min(stop - first, part.rows)
        if low < high:
            check_hashes(shards, [part])
            pieces.append(array[low:high])
        first += part.rows
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def check_hashes(shards: Shards, parts: Sequence[Part]) -> None:
    """Reads some of the parts to hash them.

    Args:
        shards: see `open_shards`.
        parts: of it.

    Raises:
        ValueError: a part whose bytes are not those that the manifest hashed.
    """
    for part in parts:
        path = shards.folder / part.file
        got = fingerprint(path)["sha256"]
        if got != part.sha256:
            raise ValueError(
                f"{path}: its SHA-256 is {got}, expected {part.sha256} as the "
                "manifest says: the file is damaged or not the one that was written"
            )


def _check_names(folder: pathlib.Path, parts: Sequence[Part]) -> None:
    """Refuses what the list of parts gives away."""
    if not parts:
        raise ValueError(f"{folder}: the manifest names no shard; expected at least 1")
    seen: dict[str, str] = {}
    for part in parts:
        if pathlib.Path(part.file).name != part.file:
            raise ValueError(
                f"{folder}: the manifest names {part.file!r}; expected a file of the "
                "folder itself"
            )
        before = seen.get(part.file) or seen.get(part.sha256)
        if before is not None:
            raise ValueError(
                f"{folder}: the shard {part.file} is doubled: {before} has the same "
                "content; name each part once"
            )
        seen |= {part.file: part.file, part.sha256: part.file}
