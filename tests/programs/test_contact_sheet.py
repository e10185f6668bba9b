"""The contact sheet: a page that parses, its images inside, and what it leaves out."""

import base64
import html.parser
import io
import json

import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import datasets
from gfa_jax.programs import contact_sheet
from tests.programs.programs import refuse, succeed

image_module = pytest.importorskip("PIL.Image")


class Page(html.parser.HTMLParser):
    """Collects images and text, and checks that every tag is closed."""

    def __init__(self, text: str):
        super().__init__()
        self.images: list[dict] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append(dict(attrs))
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def pixels(self, number: int) -> np.ndarray:
        kind, _, data = self.images[number]["src"].partition(",")
        assert kind == "data:image/png;base64"
        picture = image_module.open(io.BytesIO(base64.b64decode(data)))
        return np.asarray(picture)


def clusters(labels, confidence) -> gfa.Clusters:
    labels = np.asarray(labels, np.int32)
    sizes = np.bincount(labels[labels >= 0])
    return gfa.Clusters(labels, sizes, np.asarray(confidence, np.float32))


def test_shows_the_largest_and_the_least_certain_from_sure_to_unsure(tmp_path):
    pictures = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((4, 4), np.uint8)
    np.save(tmp_path / "images.npy", pictures)
    images = contact_sheet.open_images(str(tmp_path / "images.npy"), 6)
    found = clusters([0, 0, 0, 1, 1, -1], [0.5, 0.9, 0.7, 0.2, 0.4, 0.0])
    told = contact_sheet.write_sheet(
        tmp_path / "sheet.html",
        found,
        images,
        np.array([2 / 3, 1.0]),
        num_clusters=1,
    )
    page = Page((tmp_path / "sheet.html").read_text())
    # Cluster 0 as the largest, cluster 1 as the least certain.
    assert [image["alt"] for image in page.images] == [
        f"row {row}" for row in (1, 2, 0, 4, 3)
    ]
    for place, row in enumerate((1, 2, 0, 4, 3)):
        np.testing.assert_array_equal(
            page.pixels(place), pictures[row, :, :, None] * np.ones(3, np.uint8)
        )
    assert "cluster 0: 3 rows, confidence 0.700, purity 0.667" in page.texts
    assert "cluster 1: 2 rows, confidence 0.300, purity 1.000" in page.texts
    assert told == {"shown": 5, "unreadable": []}


def test_names_are_escaped_and_unreadable_files_named_and_skipped(tmp_path):
    folder = tmp_path / "faces"
    (folder / "b").mkdir(parents=True)
    image_module.new("RGB", (300, 150), "red").save(folder / "a<&\"'>.png")
    (folder / "b" / "empty.png").touch()
    (folder / "broken.jpg").write_bytes(b"no image at all")
    image_module.new("RGBA", (10, 10)).save(folder / "c.png")
    truncated = (folder / "c.png").read_bytes()[:40]
    (folder / "d.png").write_bytes(truncated)
    (folder / "notes.md").write_text("no image")
    images = contact_sheet.open_images(str(folder), 5)
    assert images.names == [
        "a<&\"'>.png",
        "b/empty.png",
        "broken.jpg",
        "c.png",
        "d.png",
    ]
    told = contact_sheet.write_sheet(
        tmp_path / "sheet.html", clusters([0] * 5, [0.5] * 5), images
    )
    text = (tmp_path / "sheet.html").read_text()
    page = Page(text)
    assert "<&" not in text
    assert [image["title"] for image in page.images] == ["a<&\"'>.png", "c.png"]
    assert page.pixels(0).shape == (48, 96, 3)
    assert told["shown"] == 2
    assert told["unreadable"] == ["b/empty.png", "broken.jpg", "d.png"]
    assert any("b/empty.png: cannot identify" in each for each in page.texts)


def test_a_list_gives_the_order_and_a_cluster_shows_rows_evenly(tmp_path):
    names = [f"{number}.png" for number in range(9)]
    for name in names:
        image_module.new("L", (2, 2), int(name[0])).save(tmp_path / name)
    (tmp_path / "list.txt").write_text("\n".join(reversed(names)) + "\n")
    images = contact_sheet.open_images(str(tmp_path / "list.txt"), 9)
    found = clusters([0] * 9, np.linspace(0.9, 0.1, 9))
    contact_sheet.write_sheet(
        tmp_path / "sheet.html", found, images, num_images=3, num_clusters=1
    )
    page = Page((tmp_path / "sheet.html").read_text())
    assert [image["alt"] for image in page.images] == ["8.png", "4.png", "0.png"]


def test_clusters_without_rows_make_an_empty_page(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((2, 3, 3, 3), np.uint8))
    images = contact_sheet.open_images(str(tmp_path / "images.npy"), 2)
    told = contact_sheet.write_sheet(
        tmp_path / "sheet.html", clusters([-1, -1], [0, 0]), images
    )
    assert told == {"shown": 0, "unreadable": []}
    assert Page((tmp_path / "sheet.html").read_text()).images == []


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 4, 4), np.float32), "expected uint8"),
        (np.zeros((2, 4), np.uint8), "expected uint8"),
        (np.zeros((2, 4, 4, 2), np.uint8), "expected uint8"),
        (np.zeros((0, 4, 4), np.uint8), "0 images; expected 2"),
    ],
)
def test_arrays_that_are_no_images_are_refused(tmp_path, array, message):
    np.save(tmp_path / "images.npy", array)
    with pytest.raises(ValueError, match=message):
        contact_sheet.open_images(str(tmp_path / "images.npy"), 2)


def test_other_paths_are_refused(tmp_path):
    for path, message in (
        (tmp_path, "holds 0 images"),
        (tmp_path / "missing.txt", "expected a folder"),
        (tmp_path / "images.zip", "expected a folder"),
    ):
        with pytest.raises(ValueError, match=message):
            contact_sheet.open_images(str(path), 2)


def test_the_program_writes_the_sheet_and_says_what_it_could_not_read(tmp_path):
    sample = datasets.synthetic_features(num_rows=60, dim=32, seed=0)
    np.save(tmp_path / "features.npy", sample.features)
    folder = tmp_path / "faces"
    folder.mkdir()
    for row in range(60):
        image_module.new("L", (8, 8), row).save(folder / f"{row:02}.png")
    (folder / "03.png").write_bytes(b"")
    features = f"--features={tmp_path}/features.npy"
    result = succeed(
        "cluster",
        features,
        f"--images={folder}",
        "--merge_threshold=-1",
        "--threshold=-1",
        "--k=59",
        "--linkage=average",
        f"--output_dir={tmp_path}/out",
    )
    assert "1 images could not be read: 03.png" in result.stderr
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["contact_sheet"]["unreadable"] == ["03.png"]
    page = Page((tmp_path / "out" / "contact_sheet.html").read_text())
    assert len(page.images) == report["contact_sheet"]["shown"] == 23
    (folder / "59.png").unlink()
    refuse(
        tmp_path,
        "59 images; expected 60",
        features,
        f"--images={folder}",
        module="cluster",
    )
    refuse(tmp_path, "name that too", f"--images={folder}", module="cluster")
