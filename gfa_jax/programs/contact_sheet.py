"""A page to look at clusters: one HTML file, sorted by size, by doubt or by purity.

It runs from the disk and needs no network. Image files are named by their paths
relative to the page and read when they scroll into view; what a browser cannot show,
arrays above all, is inside the page as thumbnails of some kB each.
"""

import base64
import html
import io
import os
import pathlib
import urllib.parse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import gfa_jax as gfa
from gfa_jax import datasets
from gfa_jax.datasets.arrays import read_array

if TYPE_CHECKING:
    from PIL import Image

_SHOWN_BY_BROWSERS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
_SUFFIXES = (*_SHOWN_BY_BROWSERS, ".pgm", ".ppm")
_MOST_IMAGES = 12_000
_ORDERS = {
    "size": "Largest first",
    "doubt": "Least certain first",
    "purity": "Least pure first",
}
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Clusters</title><style>
body {{ font: 15px sans-serif; margin: 0 12px 60vh }}
header {{ position: sticky; top: 0; z-index: 1; background: #fff; padding: 8px 0 }}
h1, p, h2 {{ margin: 4px 0 }} h1 {{ font-size: 20px }} h2 {{ font-size: 15px }}
button[aria-pressed=true] {{ font-weight: bold }}
section {{ content-visibility: auto; contain-intrinsic-size: auto 150px;
  scroll-margin-top: 110px; border-top: 1px solid #ccc; padding: 4px 0 }}
figure {{ display: inline-block; margin: 2px; width: 96px; overflow: hidden }}
figcaption {{ font-size: 12px; white-space: nowrap }}
img {{ width: 96px; height: 96px; object-fit: contain; background: #eee }}
</style></head><body><header><h1>Clusters</h1><p>{about}</p>
<p>{buttons} Keys: the letters in brackets, j the next cluster, k the one before.</p>
</header><main>{sections}</main><script>
const main = document.querySelector("main");
const buttons = [...document.querySelectorAll("button")];
let place = -1;
function order(by) {{
  const sections = [...main.children];
  sections.sort((a, b) => a.dataset[by] - b.dataset[by]);
  main.replaceChildren(...sections);
  buttons.forEach(each => each.setAttribute("aria-pressed", each.value === by));
  place = -1;
  scrollTo(0, 0);
}}
function step(by) {{
  place = Math.max(0, Math.min(main.children.length - 1, place + by));
  const heading = main.children[place]?.querySelector("h2");
  heading?.focus({{ preventScroll: true }});
  main.children[place]?.scrollIntoView();
}}
buttons.forEach(each => each.addEventListener("click", () => order(each.value)));
addEventListener("keydown", event => {{
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
  const asked = buttons.find(each => each.value[0] === event.key);
  if (asked) order(asked.value);
}});
</script></body></html>
"""


class Images(NamedTuple):
    """Name of each row's image, its file (None: in an array), what opens it."""

    names: list[str]
    files: list[pathlib.Path] | None
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
        ImportError: pillow is missing, and is needed for thumbnails.
    """
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
        make = _pillow().fromarray
        images = Images(names, None, lambda row: make(np.asarray(pixels[row])))
    elif source.is_dir() or (suffix == ".txt" and source.is_file()):
        if source.is_dir():
            found = source.rglob("*")
            files = sorted(file for file in found if file.suffix.lower() in _SUFFIXES)
            names = [str(file.relative_to(source)) for file in files]
        else:
            names = [name for name in source.read_text().splitlines() if name.strip()]
            files = [source.parent / name for name in names]
        if any(file.suffix.lower() not in _SHOWN_BY_BROWSERS for file in files):
            _pillow()
        images = Images(names, files, lambda row: _pillow().open(files[row]))
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
    folder: str | os.PathLike[str],
    numbers: np.ndarray,
    num_clusters: int = 1000,
    num_images: int = 24,
) -> dict[str, Any]:
    """Writes the page of so many of the largest and of the least certain clusters.

    Clusters of one row are left out. Of each it shows so many images, fewer where that
    is more than 12,000 in all, evenly from the most to the least certain row, and the
    `purity` [C], NaN where it is not known. `folder` is where the page is going to lie,
    `numbers` [N] what the clusters of the rows are called.
    Returns what the report says: images shown, and the names of those that cannot be
    read.
    """
    labels, sizes, confidence = clusters
    means = clusters.cluster_confidence
    large = np.flatnonzero(sizes > 1)  # a cluster's number is its rank by size
    ranked = {"size": large, "doubt": large[np.argsort(means[large], kind="stable")]}
    chosen = np.union1d(*(each[:num_clusters] for each in ranked.values()))
    if purity is not None:
        # NaN comes last.
        ranked["purity"] = large[np.argsort(purity[large], kind="stable")]
    ranks = {
        by: {number: rank for rank, number in enumerate(each.tolist())}
        for by, each in ranked.items()
    }
    num_images = min(num_images, max(6, _MOST_IMAGES // max(len(chosen), 1)))
    by_cluster = np.lexsort((-confidence, labels))
    starts = np.searchsorted(labels[by_cluster], np.arange(len(sizes)))
    shown, unreadable, sections = 0, [], []
    for number in chosen.tolist():
        rows = by_cluster[starts[number] : starts[number] + sizes[number]]
        title = f"cluster {numbers[rows[0]]}: {sizes[number]:,} rows, "
        title += f"confidence {means[number]:.3f}"
        if purity is not None and not np.isnan(purity[number]):
            title += f", purity {purity[number]:.3f}"
        keys = " ".join(f'data-{by}="{rank[number]}"' for by, rank in ranks.items())
        sections.append(f'<section {keys}><h2 tabindex="-1">{title}</h2>')
        count = min(num_images, len(rows))
        for row in rows[np.linspace(0, len(rows) - 1, count).round().astype(int)]:
            name = html.escape(images.names[row].encode(errors="replace").decode())
            try:
                source = _source(images, row, folder)
            except Exception as error:  # whatever a broken file makes its reader raise
                unreadable.append(images.names[row])
                sections.append(f"<p>{name}: {html.escape(str(error))}</p>")
                continue
            shown += 1
            image = f'<img loading="lazy" decoding="async" src="{source}" alt="{name}">'
            about = f"<figcaption>{confidence[row]:.2f} {name}</figcaption>"
            sections.append(f'<figure title="{name}">{image}{about}</figure>')
        sections.append("</section>")
    about = (
        f"{len(labels):,} rows in {len(sizes):,} clusters, {len(large):,} of two rows "
        f"and more. Here are {len(chosen):,} of these, the largest and the least "
        f"certain, of each at most {num_images} images with their confidence, from the "
        "most to the least certain."
    )
    buttons = " ".join(
        f'<button value="{by}" aria-pressed="{str(by == "size").lower()}">'
        f"{_ORDERS[by]} ({by[0]})</button>"
        for by in ranked
    )
    page = _PAGE.format(about=about, buttons=buttons, sections="".join(sections))
    datasets.write_text(path, page)
    return {"shown": shown, "unreadable": unreadable}


def _source(images: Images, row: int, folder: str | os.PathLike[str]) -> str:
    """Returns where a browser finds the image of a row."""
    if images.files is not None:
        file = images.files[row]
        if file.suffix.lower() in _SHOWN_BY_BROWSERS:
            if file.stat().st_size == 0:
                raise ValueError("the file is empty")
            relative = os.path.relpath(file.resolve(), pathlib.Path(folder).resolve())
            return urllib.parse.quote(os.fsencode(relative))
    with images.load(row) as image:
        small = image.convert("RGBA" if "A" in image.getbands() else "RGB")
    small.thumbnail((96, 96))
    stream = io.BytesIO()
    small.save(stream, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "--images needs pillow; pip install '.[clusters]', or leave --images out"
        ) from error
    return Image
