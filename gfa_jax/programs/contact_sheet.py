"""A page to look at clusters: the largest, and those least sure of themselves.

One self-contained HTML file, its images inside it, about 10 kB each; two buttons sort
the clusters by size and by doubt. Only the images shown are read. One that cannot be
read is named in its place, and in the report.
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
from gfa_jax import datasets
from gfa_jax.datasets.arrays import read_array

if TYPE_CHECKING:
    from PIL import Image

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".webp")
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Clusters</title><style>
body {{ font: 15px sans-serif }}
figure {{ display: inline-block; margin: 2px; width: 96px; overflow: hidden }}
figcaption {{ font-size: 11px; white-space: nowrap }}
img {{ width: 96px; height: 96px; object-fit: contain; background: #eee }}
</style><script>
function order(by) {{
  const sections = [...document.querySelectorAll("section")];
  sections.sort((a, b) => a.dataset[by] - b.dataset[by]);
  sections.forEach(section => section.parentNode.append(section));
}}
</script></head><body><h1>Clusters</h1><p>{about}</p>
<p><button onclick="order('number')">Largest first</button>
<button onclick="order('confidence')">Least certain first</button></p>
<main>{sections}</main></body></html>
"""


class Images(NamedTuple):
    """The name of each row's image, and what opens the image of a row."""

    names: list[str]
    load: "Callable[[int], Image.Image]"


def open_images(path: str, num_rows: int) -> Images:
    """Finds the images of the rows, without reading those that are files.

    Args:
        path: a folder, whose image files in the order of their names are the rows; a
            .npy, or .npz with `images`, of uint8 [N, H, W], or [N, H, W, C] with C of
            1, 3 or 4; or a .txt with the path of an image a line, relative to its own
            folder.
        num_rows: N.

    Raises:
        ValueError: a path that is none of these, another number of images.
        ImportError: pillow is missing.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "--images needs pillow; pip install '.[clusters]', or leave --images out"
        ) from error
    source, suffix = pathlib.Path(path), pathlib.Path(path).suffix.lower()
    if suffix in (".npy", ".npz"):
        array = read_array(path, key="images")
        is_color = array.ndim == 4 and array.shape[3] in (1, 3, 4)
        if array.dtype != np.uint8 or not (array.ndim == 3 or is_color):
            raise ValueError(
                f"--images={path}: got {array.dtype} {array.shape}; expected uint8 "
                "[N, H, W] or [N, H, W, C], C of 1, 3 or 4"
            )
        pixels = array[..., 0] if array.shape[3:] == (1,) else array
        names = [f"row {row}" for row in range(len(array))]
        images = Images(names, lambda row: Image.fromarray(np.asarray(pixels[row])))
    elif source.is_dir() or (suffix == ".txt" and source.is_file()):
        if source.is_dir():
            found = source.rglob("*")
            files = sorted(file for file in found if file.suffix.lower() in _SUFFIXES)
            names = [str(file.relative_to(source)) for file in files]
        else:
            names = [name for name in source.read_text().splitlines() if name.strip()]
            files = [source.parent / name for name in names]
        images = Images(names, lambda row: Image.open(files[row]))
    else:
        raise ValueError(
            f"--images={path}: expected a folder, a .npy or .npz of images, or a .txt "
            "with a path a line"
        )
    if len(images.names) != num_rows:
        raise ValueError(
            f"--images={path} holds {len(images.names):,} images; expected "
            f"{num_rows:,}, one a row of the features"
        )
    return images


def write_sheet(
    path: str | os.PathLike[str],
    clusters: gfa.Clusters,
    images: Images,
    purity: np.ndarray | None = None,
    *,
    num_clusters: int = 20,
    num_images: int = 24,
) -> dict[str, Any]:
    """Writes the page of so many of the largest and of the least certain clusters.

    Of each it shows so many images, evenly from the most to the least certain row, and
    the `purity` [C], NaN where it is not known. Returns what the report says: images
    shown, and the names of those that could not be read.
    """
    labels, sizes, confidence = clusters
    kept = labels >= 0
    means = np.bincount(labels[kept], confidence[kept], len(sizes)) / sizes
    unsure = np.flatnonzero(sizes > 1)
    unsure = unsure[np.argsort(means[unsure], kind="stable")][:num_clusters].tolist()
    shown, unreadable, sections = 0, [], []
    # A cluster's number is its rank by size.
    for number in sorted({*range(min(num_clusters, len(sizes))), *unsure}):
        mean = means[number]
        title = f"cluster {number}: {sizes[number]:,} rows, confidence {mean:.3f}"
        if purity is not None and not np.isnan(purity[number]):
            title += f", purity {purity[number]:.3f}"
        keys = f'data-number="{number}" data-confidence="{mean}"'
        sections.append(f"<section {keys}><h3>{title}</h3>")
        rows = np.flatnonzero(labels == number)
        rows = rows[np.argsort(-confidence[rows], kind="stable")]
        count = min(num_images, len(rows))
        for row in rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]:
            name = html.escape(images.names[row], quote=True)
            try:
                data = _encode(images.load(row))
            except Exception as error:  # whatever a broken file makes its reader raise
                unreadable.append(images.names[row])
                sections.append(f"<p>{name}: {html.escape(str(error))}</p>")
                continue
            shown += 1
            image = f'<img src="data:image/png;base64,{data}" alt="{name}">'
            about = f"<figcaption>{confidence[row]:.2f} {name}</figcaption>"
            sections.append(f'<figure title="{name}">{image}{about}</figure>')
        sections.append("</section>")
    about = (
        f"{len(labels):,} rows in {len(sizes):,} clusters. Here are the {num_clusters} "
        f"largest and the {num_clusters} least certain, of each at most {num_images} "
        "images, from the most to the least certain."
    )
    datasets.write_text(path, _PAGE.format(about=about, sections="".join(sections)))
    return {"shown": shown, "unreadable": unreadable}


def _encode(image: "Image.Image") -> str:
    with image:
        small = image.convert("RGBA" if "A" in image.getbands() else "RGB")
    small.thumbnail((96, 96))
    stream = io.BytesIO()
    small.save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()
