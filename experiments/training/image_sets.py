"""Labelled images from a folder, an array file or the generator, in one form.

Everything is grey, square and of one size. What could not be used is counted and named,
so that a figure is never of fewer images than it seems.
"""

import hashlib
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from experiments.training.synthetic_images import synthetic_images
from gfa_jax import datasets

# Named in full up to here; the report holds all names.
_MOST_NAMES = 5


class ImageSet(NamedTuple):
    """Images of identities."""

    name: str  # what the set is called in the report
    images: np.ndarray  # [N, S, S] uint8 grey values
    labels: np.ndarray  # [N] int32 identity of each image, in [0, P), every one present
    skipped: tuple[str, ...] = ()  # files that could not be read, with the reason
    # Files left out for having the same bytes as another one.
    duplicates: tuple[str, ...] = ()

    @property
    def num_identities(self) -> int:
        """P, the number of identities."""
        return int(self.labels.max(initial=-1)) + 1

    @property
    def single_images(self) -> int:
        """How many identities have one image, and so no genuine pair."""
        return int(np.sum(np.bincount(self.labels) == 1))


def generate(
    *, num_identities: int, seed: int, progress: Callable | None = None
) -> ImageSet:
    """Makes a set, so that the program runs without any file."""
    sample = synthetic_images(
        num_identities=num_identities, seed=seed, progress=progress
    )
    return ImageSet("generated", sample.images, sample.labels)


def read_array_file(
    path: str, *, images_key: str, labels_key: str, transpose: bool
) -> ImageSet:
    """Reads uint8 images [N, S, S] or [N, S²] and labels [N] from a .npz file.

    `transpose` tells that pixels lie column by column, as MATLAB stores them. Images
    with the same bytes count once. Raises ValueError for other shapes or dtypes.
    """
    images = np.asarray(datasets.read_array(path, key=images_key))
    labels = datasets.read_labels(path, column=labels_key)
    if images.dtype != np.uint8 or images.ndim not in (2, 3):
        raise ValueError(
            f"{path}: {images_key} is {images.dtype} {images.shape}; expected uint8 "
            "images [N, S, S] or [N, S * S]"
        )
    side = round(images[0].size ** 0.5) if len(images) else 0
    if images.ndim == 2 and side * side == images.shape[1]:
        images = images.reshape(-1, side, side)
    if images.shape[1:] != (side, side) or side < 8:
        raise ValueError(
            f"{path}: {images_key} has shape {images.shape}; expected square images of "
            "at least 8 pixels a side"
        )
    datasets.check_labels(labels, len(images))
    if transpose:
        images = images.transpose(0, 2, 1)
    codes = datasets.encode_labels(labels)[0]
    keep, twins = _distinct([image.tobytes() for image in images])
    duplicates = [f"image {twin} (as {kept})" for twin, kept in twins]
    return _number(
        pathlib.Path(path).name, images[keep], codes[keep], duplicates=duplicates
    )


def read_folder(
    folder: str, *, size: int, progress: Callable | None = None
) -> ImageSet:
    """Reads FOLDER/person/image.*, whatever Pillow reads, as grey squares.

    An image is scaled to `size` pixels a side. A file that is empty or unreadable is
    skipped; of files with the same bytes the first, in the order of their paths, stays,
    and a person left without an image is left out. People are numbered in the order of
    their names.

    Raises:
        ValueError: no such folder, or no readable image of two people.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "reading images needs pillow: pip install 'gfa_jax[train]'"
        ) from error
    root = pathlib.Path(folder)
    if not root.is_dir():
        raise ValueError(
            f"--images={folder} is no folder; expected FOLDER/person/image"
        )
    files = sorted(
        path
        for person in root.iterdir()
        if person.is_dir()
        for path in person.iterdir()
        if path.is_file() and not path.name.startswith(".")
    )
    shown = files
    if progress is not None:
        shown = progress(files, total=len(files), desc="images")
    images, people, digests, used, skipped = [], [], [], [], []
    unreadable = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
    for path in shown:
        name = os.fspath(path.relative_to(root))
        try:
            content = path.read_bytes()
            if not content:
                raise ValueError("the file is empty")
            with Image.open(path) as image:
                grey = image.convert("L").resize(
                    (size, size), Image.Resampling.BILINEAR
                )
        except unreadable as error:
            skipped.append(f"{name}: {' '.join(str(error).split())}")
            continue
        images.append(np.asarray(grey))
        people.append(path.parent.name)
        digests.append(hashlib.sha256(content).digest())
        used.append(name)
    keep, twins = _distinct(digests)
    duplicates = [f"{used[twin]} (as {used[kept]})" for twin, kept in twins]
    num_people = len({people[place] for place in keep})
    if num_people < 2:
        trouble = f"; the first trouble: {skipped[0]}" if skipped else ""
        raise ValueError(
            f"--images={folder}: {len(files)} files, {len(keep)} readable images of "
            f"{num_people} people; expected FOLDER/person/image, at least two people"
            f"{trouble}"
        )
    codes = np.unique(np.array(people)[keep], return_inverse=True)[1]
    return _number(
        root.name,
        np.stack(images)[keep],
        codes,
        skipped=skipped,
        duplicates=duplicates,
    )


def describe(images: ImageSet) -> dict[str, Any]:
    """Says of a set what the report stores."""
    sizes = np.bincount(images.labels)
    return {
        "name": images.name,
        "images": len(images.images),
        "pixels_a_side": images.images.shape[1],
        "identities": images.num_identities,
        "images_an_identity": {"min": int(sizes.min()), "max": int(sizes.max())},
        "identities_of_one_image": images.single_images,
        "skipped": list(images.skipped),
        "duplicates": list(images.duplicates),
    }


def troubles(images: ImageSet) -> list[str]:
    """Says in a line each what a person should know of the set; no lines if nothing."""
    lines = []
    for what, names in (
        ("unreadable files were skipped", images.skipped),
        ("files have the bytes of another one and were left out", images.duplicates),
    ):
        if names:
            rest = len(names) - _MOST_NAMES
            more = f"; and {rest} more, named in the report" if rest > 0 else ""
            lines.append(f"{len(names)} {what}: {'; '.join(names[:_MOST_NAMES])}{more}")
    if images.single_images:
        lines.append(
            f"{images.single_images} identities have one image: they are trained on, "
            "and in the test they make impostor pairs only"
        )
    return lines


def _distinct(contents: list[bytes]) -> tuple[list[int], list[tuple[int, int]]]:
    """The first place of every content, and each later place with its first."""
    first: dict[bytes, int] = {}
    twins = []
    for place, content in enumerate(contents):
        kept = first.setdefault(content, place)
        if kept != place:
            twins.append((place, kept))
    return list(first.values()), twins


def _number(name: str, images: np.ndarray, codes: np.ndarray, **lists: Any) -> ImageSet:
    """Numbers the identities that are left without a gap."""
    labels = np.unique(codes, return_inverse=True)[1].astype(np.int32)
    named = {key: tuple(names) for key, names in lists.items()}
    return ImageSet(name, np.ascontiguousarray(images), labels, **named)
