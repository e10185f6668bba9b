"""The contact sheet: a page that parses, where its images are, what it leaves out."""

import base64
import html.parser
import io
import pathlib
import urllib.parse

import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import datasets
from gfa_jax.programs import contact_sheet
from tests.programs.programs import read_report, refuse, succeed

image_module = pytest.importorskip("PIL.Image")


ORDERS = ("size", "doubt", "purity")


class Page(html.parser.HTMLParser):
    """Collects images and text, and checks that every tag is closed."""

    def __init__(self, text: str):
        super().__init__()
        self.images: list[dict] = []
        self.sections: list[dict] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append(dict(attrs))
        elif tag != "meta":
            self.open.append(tag)
        if tag == "section":
            self.sections.append(dict(attrs))

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


def write(folder, path, found: gfa.Clusters, **options) -> tuple[Page, dict]:
    images = contact_sheet.open_images(str(path), len(found.labels))
    options |= {"folder": folder, "numbers": found.labels}
    told = contact_sheet.write_sheet(folder / "sheet.html", found, images, **options)
    return Page((folder / "sheet.html").read_text()), told


def test_shows_the_largest_and_the_least_certain_from_sure_to_unsure(tmp_path):
    pictures = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((4, 4), np.uint8)
    np.save(tmp_path / "images.npy", pictures)
    found = clusters([0, 0, 0, 1, 1, -1], [0.5, 0.9, 0.7, 0.2, 0.4, 0.0])
    purity = np.array([2 / 3, 1.0])
    page, told = write(
        tmp_path, tmp_path / "images.npy", found, purity=purity, num_clusters=1
    )
    # Cluster 0 as the largest, cluster 1 as the least certain.
    rows = (1, 2, 0, 4, 3)
    assert [image["alt"] for image in page.images] == [f"row {row}" for row in rows]
    for place, row in enumerate(rows):
        np.testing.assert_array_equal(
            page.pixels(place), pictures[row, :, :, None] * np.ones(3, np.uint8)
        )
    assert "cluster 0: 3 rows, confidence 0.700, purity 0.667" in page.texts
    assert "cluster 1: 2 rows, confidence 0.300, purity 1.000" in page.texts
    assert told == {"shown": 5, "unreadable": []}
    assert "http" not in (tmp_path / "sheet.html").read_text()  # runs from the disk
    # Ranks by which the buttons sort: as a purity that is not known, NaN, is last.
    ranks = [[int(s[f"data-{by}"]) for s in page.sections] for by in ORDERS]
    assert ranks == [[0, 1], [1, 0], [0, 1]]


def test_names_are_escaped_and_unreadable_files_named_and_skipped(tmp_path):
    folder = tmp_path / "faces"
    (folder / "b").mkdir(parents=True)
    name = "a<&\"'>.png"
    image_module.new("RGB", (300, 150), "red").save(folder / name)
    (folder / "b" / "empty.png").touch()
    image_module.new("RGBA", (10, 10)).save(folder / "c.png")
    (folder / "d.pgm").write_bytes(b"no image at all")
    (folder / "notes.md").write_text("no image")
    image_module.new("L", (200, 100)).save(folder / "e.pgm")
    page, told = write(tmp_path, folder, clusters([0] * 5, [0.5] * 5))
    assert "a<&" not in (tmp_path / "sheet.html").read_text()
    assert [image["alt"] for image in page.images] == [name, "c.png", "e.pgm"]
    # A file is read by the browser, from where the page lies; no browser shows a .pgm.
    found = [urllib.parse.unquote(image["src"]) for image in page.images[:2]]
    assert found == [f"faces/{name}", "faces/c.png"]
    assert all(image["loading"] == "lazy" for image in page.images)
    assert page.pixels(2).shape == (48, 96, 3)
    assert told == {"shown": 3, "unreadable": ["b/empty.png", "d.pgm"]}
    assert "b/empty.png: the file is empty" in page.texts
    assert any("d.pgm: cannot identify" in each for each in page.texts)


def test_a_list_gives_the_order_and_a_cluster_shows_rows_evenly(tmp_path):
    names = [f"{number}.png" for number in range(9)]
    for name in names:
        image_module.new("L", (2, 2), int(name[0])).save(tmp_path / name)
    (tmp_path / "list.txt").write_text("\n".join(reversed(names)) + "\n")
    found = clusters([0] * 9, np.linspace(0.9, 0.1, 9))
    page, _ = write(tmp_path, tmp_path / "list.txt", found, num_images=3)
    assert [image["alt"] for image in page.images] == ["8.png", "4.png", "0.png"]


def test_of_many_clusters_a_part_is_shown_with_fewer_images(tmp_path, monkeypatch):
    monkeypatch.setattr(contact_sheet, "_MOST_IMAGES", 40)
    np.save(tmp_path / "images.npy", np.zeros((81, 1, 1), np.uint8))
    labels = np.append(np.repeat(np.arange(10), 8), 10)
    found = clusters(labels, np.append(np.repeat(np.linspace(0.9, 0.1, 10), 8), 0))
    page, _ = write(tmp_path, tmp_path / "images.npy", found, num_clusters=4)
    # The four largest, the four least certain, none of one row; 6 images of each 8.
    assert [int(s["data-size"]) for s in page.sections] == [0, 1, 2, 3, 6, 7, 8, 9]
    assert len(page.images) == 8 * 6
    buttons = [text for text in page.texts if "first (" in text]
    assert buttons == ["Largest first (s)", "Least certain first (d)"]


def test_clusters_without_rows_make_an_empty_page(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((2, 3, 3, 3), np.uint8))
    page, told = write(tmp_path, tmp_path / "images.npy", clusters([-1, -1], [0, 0]))
    assert told == {"shown": 0, "unreadable": []}
    assert page.images == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("float.npy", "expected uint8"),
        ("flat.npy", "expected uint8"),
        ("two_channels.npy", "expected uint8"),
        ("none.npy", "holds 0 images; expected 2"),
        ("", "holds 0 images"),
        ("missing.txt", "expected a folder"),
        ("images.zip", "expected a folder"),
    ],
)
def test_what_is_no_image_a_row_is_refused(tmp_path, name, message):
    np.save(tmp_path / "float.npy", np.zeros((2, 4, 4), np.float32))
    np.save(tmp_path / "flat.npy", np.zeros((2, 4), np.uint8))
    np.save(tmp_path / "two_channels.npy", np.zeros((2, 4, 4, 2), np.uint8))
    np.save(tmp_path / "none.npy", np.zeros((0, 4, 4), np.uint8))
    with pytest.raises(ValueError, match=message):
        contact_sheet.open_images(str(tmp_path / name), 2)


def test_the_program_writes_the_sheet_and_says_what_it_could_not_read(tmp_path):
    sample = datasets.synthetic_features(num_rows=60, dim=32, seed=0)
    np.save(tmp_path / "features.npy", sample.features)
    folder = tmp_path / "faces"
    folder.mkdir()
    for row in range(60):
        image_module.new("L", (8, 8), row).save(folder / f"{row:02}.png")
    pictures = (f"--features={tmp_path}/features.npy", f"--images={folder}")
    one_cluster = ("--merge_threshold=-1", "--threshold=-1", "--k=59")
    output = f"--output_dir={tmp_path}/out"
    # The surest row, which any choice of rows shows, is made the broken one.
    succeed("cluster", *pictures, *one_cluster, output)
    surest = np.argmax(np.load(tmp_path / "out" / "confidence.npy"))
    (folder / f"{surest:02}.png").write_bytes(b"")
    result = succeed("cluster", *pictures, *one_cluster, output)
    assert f"1 images could not be read: {surest:02}.png" in result.stderr
    told = read_report(tmp_path / "out")["contact_sheet"]
    page = Page((tmp_path / "out" / "contact_sheet.html").read_text())
    assert len(page.images) == told["shown"] == 23
    at = [urllib.parse.unquote(image["src"]) for image in page.images]
    assert all(pathlib.Path(tmp_path, "out", path).is_file() for path in at)
    (folder / "59.png").unlink()
    refuse(tmp_path, "59 images; expected 60", *pictures, module="cluster")
    refuse(tmp_path, "name that too", pictures[1], module="cluster")
