"""Whatever the bytes of a file are: data, or an error of one line.

GFA_JAX_FUZZ=N reads N damaged files of every format in place of a few.
"""

import json
import os
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from gfa_jax import datasets
from gfa_jax.datasets import formats

pytest.importorskip("pyarrow")
pytest.importorskip("h5py")

COUNT = int(os.environ.get("GFA_JAX_FUZZ", "0"))
LARGE = (0x7F, 0x80, 0xFF)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small file of every format, by a name of its own, as bytes."""
    folder = tmp_path_factory.mktemp("whole")
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 99, (9, 4)).astype(np.float32)
    columns = {
        "id": np.array([f"a{n}" for n in range(9)], object),
        "label": np.arange(9),
    }
    for suffix in formats.FORMATS:
        kept = rows.astype(np.float16) if suffix == ".f16bin" else rows
        datasets.write_table(folder / f"a{suffix}", datasets.Table(kept, columns))
    np.savez_compressed(folder / "packed.npz", features=rows, label=np.arange(9))
    np.savetxt(folder / "b.meta", np.arange(9), "%d")
    np.savetxt(folder / "b.pairs.csv", np.arange(18).reshape(9, 2) // 2, "%d", ",")
    np.save(folder / "b.knn.npy", np.arange(18).reshape(9, 2) // 2)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@st.composite
def damage(draw):
    """A few edits of bytes: place, from 0 to 1, and what comes there."""
    place = st.floats(0, 1, exclude_max=True)
    byte = st.one_of(st.sampled_from(LARGE), st.integers(0, 255))
    change = st.one_of(
        st.tuples(st.just("set"), place, byte),
        st.tuples(st.just("size"), place, st.sampled_from([1, 4, 8])),
        st.tuples(st.just("cut"), place, st.integers(1, 60)),
        st.tuples(st.just("copy"), place, st.integers(1, 60)),
        st.tuples(st.just("end"), place, st.just(0)),
    )
    return draw(st.lists(change, min_size=1, max_size=6))


def damaged(content, changes):
    content = bytearray(content)
    for kind, place, value in changes:
        at = int(place * len(content))
        if kind == "set" and content:
            content[at] = value
        elif kind == "size":
            content[at : at + value] = b"\xff\xff\xff\x7f\xff\xff\xff\x7f"[-value:]
        elif kind == "cut":
            del content[at : at + value]
        elif kind == "copy":
            content[at:at] = content[at : at + value]
        elif kind == "end":
            del content[at:]
    return bytes(content)


def read(path):
    name = path.name
    if name.startswith("b."):
        if "pairs" in name:
            return datasets.read_pairs(path)
        if "knn" in name:
            return datasets.read_candidates(path, num_rows=9)
        return datasets.read_labels(path)
    table = datasets.read_table(path, dim=4 if name == "a.bin" else None)
    return np.asarray(table.features).sum(), datasets.read_labels(path, column="label")


def names():
    others = "packed.npz", "b.meta", "b.pairs.csv", "b.knn.npy"
    return [*(f"a{suffix}" for suffix in formats.FORMATS), *others]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", names())
def test_damaged(tmp_path_factory, whole, name):
    path = tmp_path_factory.mktemp("damaged") / name
    # Every read of HDF5 starts a process.
    examples = COUNT or (4 if name.endswith((".h5", ".hdf5")) else 40)

    @seed(0)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=[*HealthCheck.__members__.values()],
    )
    @given(damage())
    def check(changes):
        path.unlink(missing_ok=True)  # what is mapped keeps its bytes
        path.write_bytes(damaged(whole[name], changes))
        try:
            read(path)
        except ValueError as error:
            assert "\n" not in str(error)
        except OSError as error:
            assert error.errno

    check()


def header_of(shape):
    told = {"x": {"dtype": "F32", "shape": shape, "data_offsets": [0, 16]}}
    text = json.dumps(told).encode()
    return len(text).to_bytes(8, "little") + text + bytes(16)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.fbin", b"\xff\xff\xff\xff\xff\xff\xff\xff" + bytes(16)),
        ("a.fvecs", b"\xff\xff\xff\x7f" + bytes(16)),
        ("a.safetensors", header_of([2**40, 4])),
        ("a.safetensors", b"\xff" * 8 + bytes(16)),
        ("a.safetensors", (100_000).to_bytes(8, "little") + b"[" * 100_000),
        ("a.csv", b"1," * 3_000_000),
        ("a.csv", b"\xff\xfe1\0,\0002\0"),
        ("a.txt", b'"' * 100_000),
        ("a.index", b"IxFI" + b"\xff\xff\xff\x7f" * 12),
    ],
)
def test_sizes_that_are_claimed_take_no_memory(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="a") as error:
            datasets.read_features(tmp_path / name)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value)
    assert peak < (64 << 20) + 100 * len(content)


def test_a_packed_array_that_claims_a_tebibyte(tmp_path):
    shape = b"{'descr': '<f4', 'fortran_order': False, 'shape': (68719476736, 4), }"
    head = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + shape.ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("features.npy", head)
    content = (tmp_path / "a.npz").read_bytes()
    size = len(head).to_bytes(4, "little")
    (tmp_path / "a.npz").write_bytes(content.replace(size, b"\xff\xff\xff\xfe"))
    with pytest.raises(ValueError, match=r"a\.npz"):
        datasets.read_features(tmp_path / "a.npz")
