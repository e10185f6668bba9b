import numpy as np
import pytest

from experiments.paper.protocols import read_cfp
from gfa_jax.datasets import check_pairs
from tests.problems import refused

FRONTALS = [f"../Data/Images/{i:03d}/frontal/01.jpg" for i in range(1, 7)]
PROFILES = [f"../Data/Images/{i:03d}/profile/01.jpg" for i in range(1, 5)]


@pytest.fixture
def folder(tmp_path):
    """A small Protocol folder: a genuine and two impostor pairs in every fold."""
    root = tmp_path / "Protocol"
    for kind in ("FF", "FP"):
        for fold in range(1, 11):
            split = root / "Split" / kind / f"{fold:02d}"
            split.mkdir(parents=True)
            (split / "same.txt").write_text(f"{fold % 4 + 1},{fold % 4 + 1}\n")
            (split / "diff.txt").write_text("1,2\r\n6,4")
    for name, images in (("F", FRONTALS), ("P", PROFILES)):
        lines = [f"{i} {image}\n" for i, image in enumerate(images, 1)]
        (root / f"Pair_list_{name}.txt").write_text("".join(lines))
    return root


@pytest.mark.parametrize(("kind", "second"), [("FP", PROFILES), ("FF", FRONTALS)])
def test_the_format(folder, kind, second):
    protocol = read_cfp(folder, kind=kind)
    assert protocol.names.tolist() == FRONTALS + PROFILES * (kind == "FP")
    check_pairs(protocol.pairs, len(protocol.names))
    same = protocol.pairs.same
    assert same is not None and (len(same), same.sum()) == (30, 10)
    np.testing.assert_array_equal(protocol.folds, np.repeat(np.arange(10), 3))
    np.testing.assert_array_equal(protocol.pairs.same, [True, False, False] * 10)
    pairs = protocol.names[protocol.pairs.indices].tolist()
    assert pairs[:3] == [
        [FRONTALS[1], second[1]],
        [FRONTALS[0], second[1]],
        [FRONTALS[5], second[3]],
    ]


def test_counts(folder):
    counts = {count.name: count[1:] for count in read_cfp(folder).counts}
    assert counts == {
        "frontal images": (6, 5000),
        "profile images": (4, 2000),
        "folds": (10, 10),
        "pairs": (30, 7000),
        "genuine pairs": (10, 3500),
        "impostor pairs": (20, 3500),
    }
    assert "profile images" not in {c.name for c in read_cfp(folder, kind="FF").counts}


@pytest.mark.parametrize("bad", ["0,1", "7,1", "1,5", "1", "1,2,3", "a,1", "1;2", "1,"])
def test_malformed_pair_is_named(folder, bad):
    (folder / "Split" / "FP" / "07" / "diff.txt").write_text(f"1,2\n{bad}\n")
    refused(r"07/diff\.txt, line 2: got .*'i,j' from 1 to 6 and 4", read_cfp, folder)
    read_cfp(folder, kind="FF")


@pytest.mark.parametrize(
    "bad", ["3", "2 again.jpg", "4 skipped.jpg", "x.jpg", "x x.jpg"]
)
def test_malformed_image_is_named(folder, bad):
    lines = [f"1 {FRONTALS[0]}", f"2 {FRONTALS[1]}", bad, f"4 {FRONTALS[3]}"]
    (folder / "Pair_list_F.txt").write_text("\n".join(lines))
    with pytest.raises(
        ValueError, match=r"Pair_list_F\.txt, line 3: got .*expected '3 path'"
    ):
        read_cfp(folder)


def test_a_pickle_of_the_images(tmp_path):
    path = tmp_path / "cfp_fp.bin"
    path.write_bytes(b"\x80\x02]q\x00.")
    with pytest.raises(ValueError, match=r"not a folder; .* is a pickle"):
        read_cfp(path)
