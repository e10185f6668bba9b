"""MegaFace: one feature file an image, and its noise-cleaned form.

A file is four little-endian int32 (D, 1, 4, 5) and D float32. insightface's cleaning
(src/megaface/remove_noises.py) appends one more value: 0 for an image to keep and 100
for a wrong distractor, which so moves out of everybody's reach. That value is no
feature: a cosine of all D + 1 would be dominated by it.
"""

import os
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from gfa_jax.datasets.arrays import open_input
from gfa_jax.datasets.protocols.counts import Count

_HEADER = struct.Struct("<4i")
_REST = (1, 4, 5)


class MegaFaceFeatures(NamedTuple):
    """Features of single files, stacked.

    Attributes:
        features: [N, D] float32, not normalised.
        is_noise: [N] bool, True where the cleaning marked the image as wrong: drop
            these rows. None where the files are not cleaned.
        counts: what was read; nothing was published.
    """

    features: np.ndarray
    is_noise: np.ndarray | None
    counts: tuple[Count, ...]


def read_megaface(
    paths: Sequence[str | os.PathLike[str]],
    *,
    dim: int = 512,
    strip_noise: bool = False,
    progress: Callable | None = None,
) -> MegaFaceFeatures:
    """Stacks the features of single images.

    Args:
        paths: N >= 1 files, in the order of the rows.
        dim: length D of a feature.
        strip_noise: whether the files are noise-cleaned, D + 1 values each: the last
            is then cut off and returned as `is_noise`.
        progress: called as tqdm is, `progress(iterable, total=, desc=)`.

    Returns:
        The features.

    Raises:
        ValueError: no file, a file that is missing, empty, cut short or of another
            length or header, or noise-cleaned files without `strip_noise`.
    """
    if not paths:
        raise ValueError("paths: got none, expected at least one feature file")
    features = np.empty((len(paths), dim), np.float32)
    is_noise = np.zeros(len(paths), np.bool_)
    files = enumerate(paths)
    if progress is not None:
        files = progress(files, total=len(paths), desc="reading features")
    for row, path in files:
        values = _read_values(path, dim + strip_noise, dim)
        features[row] = values[:dim]
        is_noise[row] = (values[dim:] != 0).any()
    counts = (Count("images", len(paths), None),)
    if not strip_noise:
        return MegaFaceFeatures(features, None, counts)
    noise = Count("noise images", int(np.count_nonzero(is_noise)), None)
    return MegaFaceFeatures(features, is_noise, (*counts, noise))


def _read_values(path: str | os.PathLike[str], width: int, dim: int) -> np.ndarray:
    with open_input(path) as file:
        content = file.read(_HEADER.size + 4 * width + 1)
    header = None
    if len(content) >= _HEADER.size:
        header = _HEADER.unpack_from(content)
    if header == (dim + 1, *_REST) and width == dim:
        raise ValueError(
            f"cannot read {path}: got {dim + 1} values, the noise-cleaned form of "
            f"{dim}, whose last is no feature; give strip_noise=True"
        )
    if header != (width, *_REST):
        raise ValueError(
            f"cannot read {path}: got the header {header}, expected {(width, *_REST)}; "
            "is it a MegaFace feature file of this dim?"
        )
    if len(content) != _HEADER.size + 4 * width:
        raise ValueError(
            f"cannot read {path}: expected {_HEADER.size + 4 * width} bytes for "
            f"{width} values; the file is cut short or damaged"
        )
    return np.frombuffer(content, "<f4", offset=_HEADER.size)
