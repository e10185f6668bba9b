"""A gallery in a folder, its rows called by texts.

    create(path, features, ids)         a new folder
    stored = load(path)                 mapped, not read: it may be larger than memory
    change(path, lambda stored: remove(stored, ["anna"]))

A save is a generation (datasets/generations.py): a kill at any moment leaves the last
one that was saved, whole; a reader sees one generation; a second writer is told. Once a
removal is saved, nothing of its rows is in any file of the folder.
"""

import contextlib
import math
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from gfa_jax import gallery as core
from gfa_jax.datasets.generations import (
    Generation,
    has_generation,
    is_free,
    only_writer,
    read_generation,
    write_generation,
)
from gfa_jax.gallery.types import ROW_AXIS, Gallery

# Its second part counts up with every change of what a folder holds.
_KIND = ("gfa_jax gallery", 1)
_NUMBERS = {
    name: kind
    for name, kind in Gallery.__annotations__.items()
    if kind in (bool, int, float)
}
_ARRAYS = {*Gallery._fields} - {*_NUMBERS} | {"id_bytes", "id_ends"}


class Stored(NamedTuple):
    """A gallery, and what its rows are called."""

    gallery: Gallery  # its ids are the keys of `names`
    names: dict[int, str]  # the id of each row, by its key
    next_key: int  # above every key that ever was
    number: int  # of the generation, from 1 on

    @property
    def ids(self) -> list[str]:
        """The id of each row, in the order of the rows."""
        return [self.names[key] for key in _keys(self.gallery).tolist()]


def create(
    path: str | os.PathLike[str],
    features: Any,
    ids: Iterable[Any] | None = None,
    **options: Any,
) -> Stored:
    """Makes a folder of a new gallery.

    Args:
        path: of the folder, which may exist where it is empty.
        features: [N, D], N >= 2, as for `gallery.create`.
        ids: [N] texts or integers, each another one; "0", "1", … by default.
        **options: of `gallery.create`.

    Returns:
        Stored.

    Raises:
        ValueError: a folder that holds anything, or cannot be written; what
            `gallery.create` refuses; an id that is missing or there twice. There is no
            folder then.

    Cost: that of `gallery.create`, and of hashing and writing what it returns.
    """
    folder = pathlib.Path(path)
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with only_writer(folder):
            if not is_free(folder, _ARRAYS):
                what = "a gallery" if has_generation(folder) else "other files"
                raise ValueError(f"{folder} holds {what} already; name another folder")
            count = len(features)
            names = dict(enumerate(_texts(ids, range(count), count)))
            made = core.create(features, **options)
            return _save(folder, Stored(made, names, count, 0))
    except OSError as error:
        raise ValueError(f"cannot make {folder}: {error.strerror}") from error
    finally:
        if is_new and not has_generation(folder):
            with contextlib.suppress(OSError):
                folder.rmdir()


def load(path: str | os.PathLike[str], *, whole: bool = False) -> Stored:
    """Maps the newest generation of a gallery; others may write meanwhile.

    Args:
        path: of the folder.
        whole: whether files of more than 256 MB are held against their hashes too.

    Returns:
        Stored, its arrays read-only.

    Raises:
        ValueError: no gallery, one of another version, a file that is missing, cut
            short or changed.
    """
    folder = pathlib.Path(path)
    number, arrays, values = read_generation(folder, kind=_KIND, whole=whole)
    numbers = values.get("gallery", {})
    if {*arrays} != _ARRAYS or {*numbers} != {*_NUMBERS}:
        raise ValueError(f"{folder} holds other arrays than this version writes")
    ends, letters = arrays.pop("id_ends"), arrays.pop("id_bytes").tobytes()
    parts = zip([0, *ends.tolist()], ends.tolist(), strict=False)
    texts = (letters[a:b].decode("utf-8", "surrogatepass") for a, b in parts)
    numbers = {n: math.nan if v is None else v for n, v in numbers.items()}
    fields: dict[str, Any] = {**arrays, **numbers}
    found = Gallery(**fields)
    names = dict(zip(np.sort(_keys(found)).tolist(), texts, strict=True))
    return Stored(found, names, values["next_key"], number)


def change(
    path: str | os.PathLike[str], function: Callable[[Stored], Stored]
) -> Stored:
    """Replaces a gallery by what a function makes of it, as the only writer.

    Args:
        path: of the folder.
        function: takes Stored and gives another, as `add` and `remove` do.

    Returns:
        What was saved.

    Raises:
        ValueError: as `load`; another writer is at work; what the function refuses; a
            full disk. The folder is then as it was.

    Cost: all of it is read and held against its hashes, so that no damage gets a new
    one, and written.
    """
    folder = pathlib.Path(path)
    with only_writer(folder):
        return _save(folder, function(load(folder, whole=True)))


def add(
    stored: Stored, features: Any, ids: Iterable[Any] | None = None, **options: Any
) -> Stored:
    """Inserts rows.

    Args:
        stored: of `load`.
        features: [n, D], n >= 1, as for `gallery.insert`.
        ids: [n] texts or integers that no row has; the next numbers by default.
        **options: of `gallery.insert`.

    Returns:
        Stored, not saved.

    Raises:
        ValueError: what `gallery.insert` refuses, an id that is missing, there twice,
            or of another row.
    """
    keys = range(stored.next_key, stored.next_key + len(features))
    texts = _texts(ids, keys, len(features))
    taken = sorted({*texts} & {*stored.names.values()})
    if taken:
        raise ValueError(
            f"{len(taken)} of {len(texts)} ids are in the gallery already, such as "
            f"{taken[0]!r}; remove them first"
        )
    grown = core.insert(stored.gallery, features, np.array(keys), **options)
    names = stored.names | dict(zip(keys, texts, strict=True))
    return Stored(grown, names, keys.stop, stored.number)


def remove(stored: Stored, ids: Iterable[Any]) -> Stored:
    """Removes rows.

    Args:
        stored: of `load`.
        ids: texts or integers, those of rows.

    Returns:
        Stored, not saved.

    Raises:
        ValueError: an id that no row has, or that is there twice.
    """
    ids = [*ids]
    texts = {*_texts(ids, (), len(ids))}
    keys = [key for key, name in stored.names.items() if name in texts]
    unknown = sorted(texts - {stored.names[key] for key in keys})
    if unknown:
        raise ValueError(
            f"{len(unknown)} of {len(texts)} ids are not in the gallery, such as "
            f"{unknown[0]!r}; nothing was removed"
        )
    names = {key: name for key, name in stored.names.items() if name not in texts}
    left = core.remove(stored.gallery, np.array(keys, np.int64))
    return stored._replace(gallery=left, names=names)


def _save(folder: pathlib.Path, stored: Stored) -> Stored:
    held, arrays = stored.gallery, {}
    for name in {*Gallery._fields} - {*_NUMBERS}:
        rows = (slice(None),) * ROW_AXIS.get(name, 0) + (slice(held.count),)
        arrays[name] = getattr(held, name)[rows if name in ROW_AXIS else ...]
    texts = [
        stored.names[key].encode("utf-8", "surrogatepass")
        for key in np.sort(_keys(held)).tolist()
    ]
    arrays["id_bytes"] = np.frombuffer(b"".join(texts), np.uint8)
    arrays["id_ends"] = np.cumsum([*map(len, texts)], dtype=np.int64)
    numbers = {name: kind(getattr(held, name)) for name, kind in _NUMBERS.items()}
    numbers = {name: None if v != v else v for name, v in numbers.items()}  # no NaN
    values = {"next_key": stored.next_key, "gallery": numbers}
    number = stored.number + 1
    write_generation(folder, Generation(number, arrays, values), kind=_KIND)
    return stored._replace(number=number)


def _keys(held: Gallery) -> np.ndarray:
    return held.ids[: held.count]


def _texts(ids: Iterable[Any] | None, keys: Iterable[int], count: int) -> list[str]:
    """Reads ids of so many rows, each another text; by default the keys."""
    given = [*(keys if ids is None else ids)]
    if len(given) != count:
        raise ValueError(f"got {len(given)} ids of {count} rows; expected one a row")
    texts, seen = [], set()
    for row, each in enumerate(given):
        is_text = isinstance(each, str)
        is_number = isinstance(each, int | np.integer) and not isinstance(each, bool)
        if not (is_text or is_number) or each == "":
            raise ValueError(
                f"row {row} has the id {each!r}; expected text or an integer"
            )
        texts.append(each if is_text else str(int(each)))
        if texts[-1] in seen:
            raise ValueError(f"the id {texts[-1]!r} is given twice; expected each once")
        seen.add(texts[-1])
    return texts
