"""A page to look at clusters: the largest, and those least sure of themselves.

One self-contained HTML file, its images inside it, so that it can be mailed and opened
anywhere. Of each cluster it shows rows from the most to the least certain, evenly
spaced. Only the images shown are read. One that cannot be read is skipped, counted,
and named on the page and in the report.
"""

import base64
import html
import io
import os
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import gfa_jax as gfa
from gfa_jax import datasets, metrics
from gfa_jax.datasets.arrays import read_array

if TYPE_CHECKING:
    from PIL import Image

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".webp")
_STYLE = """
body { font: 15px/1.4 sans-serif; margin: 2em; color: #222; background: #fff }
section { border-top: 1px solid #ccc; padding: .6em 0 }
h3 { font-size: 1em; margin: .2em 0 }
figure { display: inline-block; margin: 2px; vertical-align: top; width: 96px }
img { width: 96px; height: 96px; object-fit: contain; background: #eee }
figcaption { font-size: 11px; overflow: hidden; text-overflow: ellipsis;
             white-space: nowrap }
.note { color: #666 }
"""


class Images(NamedTuple):
    """The images of the rows, opened one at a time.

    Attributes:
        names: one a row, for a person to find the image by.
        load: takes a row, returns its image; raises OSError or ValueError.
    """

    names: list[str]
    load: "Callable[[int], Image.Image]"


def open_images(path: str, *, key: str = "images") -> Images:
    """Finds the images of the rows, without reading those that are files.

    Args:
        path: a folder, whose image files in the order of their names are the rows; a
            .npy or .npz of uint8 [N, H, W], or [N, H, W, C] with C of 1, 3 or 4; or a
            .txt with the path of an image a line, relative to its own folder.
        key: array of a .npz.

    Returns:
        Images.

    Raises:
        ValueError: a path that is none of these, or that names no image.
        ImportError: pillow is missing.
    """
    _pillow()
    source = pathlib.Path(path)
    if source.is_dir():
        files = sorted(
            file for file in source.rglob("*") if file.suffix.lower() in _SUFFIXES
        )
        names = [str(file.relative_to(source)) for file in files]
    elif source.suffix.lower() in (".npy", ".npz"):
        return _from_array(read_array(path, key=key), path)
    elif source.suffix.lower() == ".txt" and source.is_file():
        names = [name for name in source.read_text().splitlines() if name.strip()]
        files = [source.parent / name for name in names]
    else:
        raise ValueError(
            f"--images={path}: expected a folder, a .npy or .npz of images, or a .txt "
            "with a path a line"
        )
    if not names:
        raise ValueError(f"--images={path}: found no image")
    return Images(names, lambda row: _read(files[row]))


def write_sheet(
    path: str | os.PathLike[str],
    clusters: gfa.Clusters,
    images: Images,
    identities: np.ndarray | None = None,
    *,
    num_clusters: int = 20,
    num_images: int = 24,
    size: int = 96,
) -> dict[str, Any]:
    """Writes the page.

    Args:
        path: the .html to write.
        clusters: what `gfa_jax.cluster` returned.
        images: of the same rows.
        identities: [N] true ones, to show the purity of each cluster.
        num_clusters: clusters to show of each kind, >= 1.
        num_images: images to show of a cluster, >= 1.
        size: longest side of an image in pixels, >= 1.

    Returns:
        For the report: images shown, and the names of those that could not be read.

    Raises:
        ValueError: as many images as there are rows were expected.

    Memory: the page, about 10 kB an image.
    """
    check_count(images, len(clusters.labels))
    purity = None
    if identities is not None:
        purity = metrics.cluster_purity(identities, clusters.labels)
    means = _mean_confidence(clusters)
    unsure = np.flatnonzero(clusters.sizes > 1)
    unsure = unsure[np.argsort(means[unsure], kind="stable")][:num_clusters]
    shown, unreadable = 0, {}
    parts = []
    for title, chosen in (
        ("Largest clusters", np.arange(min(num_clusters, clusters.num_clusters))),
        ("Least certain clusters", unsure),
    ):
        parts.append(f"<h2>{title}</h2>")
        for number in chosen.tolist():
            figures = []
            for row in _spread_rows(clusters, number, num_images):
                try:
                    picture = _png(images.load(row), size)
                except (OSError, ValueError, SyntaxError) as error:
                    unreadable[images.names[row]] = str(error) or type(error).__name__
                    continue
                figures.append(_figure(images.names[row], row, clusters, picture))
            shown += len(figures)
            heading = (
                f"cluster {number}: {clusters.sizes[number]:,} rows, confidence "
                f"{means[number]:.3f}"
            )
            if purity is not None:
                heading += f", purity {purity[number]:.3f}"
            body = "".join(figures) or "<p class=note>none could be read</p>"
            parts.append(f"<section><h3>{heading}</h3>{body}</section>")
    if unreadable:
        names = "".join(
            f"<li>{html.escape(name)}: {html.escape(reason)}</li>"
            for name, reason in unreadable.items()
        )
        parts.append(
            f"<h2>{len(unreadable):,} images could not be read</h2><ul>{names}</ul>"
        )
    head = (
        f"{len(clusters.labels):,} rows in {clusters.num_clusters:,} clusters. "
        f"Of each, at most {num_images} images, from the most to the least certain."
    )
    page = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f"<title>Clusters</title><style>{_STYLE}</style></head><body>"
        f"<h1>Clusters</h1><p class=note>{head}</p>{''.join(parts)}</body></html>\n"
    )
    datasets.write_text(path, page)
    return {"shown": shown, "unreadable": list(unreadable)}


def check_count(images: Images, num_rows: int) -> None:
    """Refuses images that are not one a row."""
    if len(images.names) != num_rows:
        raise ValueError(
            f"--images holds {len(images.names):,} images; expected {num_rows:,}, one "
            "a row of the features"
        )


def _from_array(array: np.ndarray, path: str) -> Images:
    is_color = array.ndim == 4 and array.shape[3] in (1, 3, 4)
    if array.dtype != np.uint8 or not (array.ndim == 3 or is_color) or not array.size:
        raise ValueError(
            f"--images={path}: got {array.dtype} {array.shape}; expected uint8 "
            "[N, H, W] or [N, H, W, C], C of 1, 3 or 4"
        )

    def load(row: int) -> "Image.Image":
        pixels = np.asarray(array[row])
        return _pillow().fromarray(
            pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
        )

    return Images([f"row {row}" for row in range(len(array))], load)


def _read(file: pathlib.Path) -> "Image.Image":
    if file.stat().st_size == 0:
        raise ValueError("the file is empty")
    with _pillow().open(file) as image:
        image.load()
        return image.copy()


def _png(image: "Image.Image", size: int) -> str:
    """Returns an image as a data URL, no larger than `size`."""
    image = image.convert("RGBA" if "A" in image.getbands() else "RGB")
    image.thumbnail((size, size))
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _figure(name: str, row: int, clusters: gfa.Clusters, picture: str) -> str:
    name = html.escape(name, quote=True)
    return (
        f'<figure><img src="{picture}" alt="{name}" title="{name}">'
        f"<figcaption>{clusters.confidence[row]:.2f} {name}</figcaption></figure>"
    )


def _spread_rows(clusters: gfa.Clusters, number: int, count: int) -> np.ndarray:
    """Picks rows of a cluster evenly, from the most to the least certain."""
    rows = np.flatnonzero(clusters.labels == number)
    rows = rows[np.argsort(-clusters.confidence[rows], kind="stable")]
    return rows[
        np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)
    ]


def _mean_confidence(clusters: gfa.Clusters) -> np.ndarray:
    kept = clusters.labels >= 0
    total = np.bincount(
        clusters.labels[kept],
        weights=clusters.confidence[kept],
        minlength=clusters.num_clusters,
    )
    return total / clusters.sizes


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "--images needs pillow; pip install '.[clusters]', or leave --images out"
        ) from error
    return Image
