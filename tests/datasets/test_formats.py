"""Every format: written and read here, and as the libraries that own it do."""

import mmap
import pickle

import ml_dtypes
import numpy as np
import pytest

from gfa_jax import datasets
from gfa_jax.datasets import formats

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pd = pytest.importorskip("pandas")
h5py = pytest.importorskip("h5py")

WHOLE = {".bvecs": 0, ".u8bin": 0, ".i8bin": -100, ".ibin": -100}
MAPPED = {".npy", ".npz", ".h5", ".hdf5", ".safetensors", ".bin", ".index", ".faiss"}


@pytest.fixture
def features(rng):
    return rng.normal(size=(50, 12)).astype(np.float32)


@pytest.fixture
def ids():
    return np.array([f'a "{number}", Zoë' for number in range(50)], object)


@pytest.fixture
def people(rng):
    return rng.integers(0, 9, 50)


@pytest.mark.parametrize("suffix", formats.FORMATS)
def test_round_trip(tmp_path, rng, features, ids, people, suffix):
    if suffix in WHOLE:
        features = rng.integers(WHOLE[suffix], 100, (50, 12)).astype(np.float32)
    if suffix == ".f16bin":
        features = features.astype(np.float16)
    path = tmp_path / f"a{suffix}"
    table = datasets.Table(features, {"id": ids, "person": people})
    left_out = datasets.write_table(path, table)
    for spill in (None, tmp_path):
        got = datasets.read_table(path, spill=spill)
        np.testing.assert_array_equal(got.features, features)
        assert got.features.dtype == features.dtype
        for name in table.columns.keys() - {*left_out}:
            np.testing.assert_array_equal(got.columns[name], table.columns[name])
        is_mapped = isinstance(got.features.base, mmap.mmap)
        assert is_mapped or spill is None or suffix in (".fvecs", ".bvecs")
        assert is_mapped or suffix not in MAPPED
    holds = formats.FORMATS[suffix].columns
    assert left_out == {"any": [], "numbers": ["id"], "none": ["id", "person"]}[holds]
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def frame(features, ids, people, names="f{}"):
    """Mixed columns, those of the vectors out of their order."""
    columns = {names.format(n): features[:, n] for n in range(12)}
    shuffled = dict(sorted(columns.items()))
    return pd.DataFrame({"path": ids, **shuffled, "person": people, "age": people + 20})


@pytest.mark.parametrize(
    ("write", "suffix"),
    [
        (lambda f, p: f.to_csv(p), ".csv"),
        (lambda f, p: f.to_csv(p, index=False, sep=";"), ".csv"),
        (lambda f, p: f.to_csv(p, sep="\t", encoding="utf-8-sig"), ".tsv"),
        (lambda f, p: f.to_csv(p, lineterminator="\r\n"), ".csv"),
        (lambda f, p: f.to_parquet(p), ".parquet"),
        (lambda f, p: f.to_feather(p), ".feather"),
    ],
)
def test_tables_of_pandas(tmp_path, features, ids, people, write, suffix):
    path = tmp_path / f"a{suffix}"
    write(frame(features, ids, people), path)
    got = datasets.read_table(path)
    np.testing.assert_array_equal(got.features, features)
    assert got.features.dtype == np.float32
    assert got.vectors == tuple(f"f{number}" for number in range(12))
    np.testing.assert_array_equal(got.columns["path"], ids)
    np.testing.assert_array_equal(got.columns["age"], people + 20)
    labels = datasets.read_labels(path, column="person")
    np.testing.assert_array_equal(labels, people)
    datasets.write_table(path, got)
    again = datasets.read_table(path)
    assert again.vectors == got.vectors and [*again.columns] == [*got.columns]


def test_lists_in_text(tmp_path, features, ids, people):
    table = pd.DataFrame({"text": ids, "embedding": [*features], "person": people})
    table.to_csv(tmp_path / "printed.csv", index=False)
    table["embedding"] = features.tolist()
    table.to_csv(tmp_path / "a.csv")
    table.to_csv(tmp_path / "a.tsv", sep="\t", index=False, quoting=3, escapechar="\\")
    table[["text", "embedding"]].to_csv(tmp_path / "two.csv", index=False)
    for name in ("a.csv", "a.tsv", "two.csv", "printed.csv"):
        got = datasets.read_table(tmp_path / name)
        rounding = 1e-7 if name == "printed.csv" else 0  # eight digits
        np.testing.assert_allclose(got.features, features, rtol=0, atol=rounding)
        assert got.vectors == ("embedding",) and "text" in got.columns
    labels = datasets.read_labels(tmp_path / "a.csv", column="person")
    np.testing.assert_array_equal(labels, people)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("[1, 2]", "line 3: got 2 values, expected 3"),
        ("[1, 2, 3, 4]", "line 3: got 4 values, expected 3"),
        ("[1 2 ... 9]", "shortened when it was printed"),
        ("[1, x, 3]", "no numeric column"),
    ],
)
def test_lists_in_text_that_are_no_vectors(tmp_path, cell, message):
    path = tmp_path / "a.csv"
    path.write_text(f'id,v\na,"[1, 2, 3]"\nb,"{cell}"\n')
    with pytest.raises(ValueError, match=message):
        datasets.read_table(path)


def test_json_lines_of_pandas(tmp_path, features, ids, people):
    frame_ = pd.DataFrame({"id": ids, "embedding": [*features], "person": people})
    frame_["name"] = frame_["id"].where(frame_["person"] > 0)
    frame_["box"] = [{"x": 1}] * 50
    path = tmp_path / "a.jsonl"
    frame_.to_json(path, orient="records", lines=True, double_precision=15)
    got = datasets.read_table(path)
    np.testing.assert_array_equal(got.features, features)
    np.testing.assert_array_equal(got.columns["person"], people)
    np.testing.assert_array_equal(got.columns["name"] == "", people == 0)
    assert [*got.columns] == ["id", "person", "name"]
    np.testing.assert_array_equal(datasets.read_labels(path, column="person"), people)
    wide = frame(features, ids, people)
    wide.to_json(path, orient="records", lines=True, double_precision=15)
    got = datasets.read_table(path)
    np.testing.assert_array_equal(got.features, features)
    assert got.vectors[0] == "f0"
    path.write_text("[1, 2]\n[3, null]\n")
    np.testing.assert_array_equal(
        datasets.read_table(path).features, [[1, 2], [3, np.nan]]
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"v": [1]}', "line 2: got 1 values, expected 2"),
        ('{"w": [1, 2]}', "line 2: got no vector, expected 2"),
        ('{"v": [1, "a"]}', "line 2: got 'a' among the values"),
        ('{"v": [1, 2]', "line 2: no JSON"),
        ("3", "line 2: got '3', expected an object"),
    ],
)
def test_json_lines_that_are_not_like_the_first(tmp_path, line, message):
    path = tmp_path / "a.jsonl"
    path.write_text('{"v": [1, 2]}\n' + line + "\n")
    with pytest.raises(ValueError, match=message):
        datasets.read_table(path)


@pytest.mark.parametrize("options", [{}, {"index": False}, {"header": False}])
def test_numbers_alone_as_text(tmp_path, features, options):
    pd.DataFrame(features).to_csv(tmp_path / "a.csv", **options)
    got = datasets.read_table(tmp_path / "a.csv")
    if options == {"header": False}:  # its index has no name
        assert got.features.shape == (50, 13)
    else:
        np.testing.assert_array_equal(got.features, features)
    np.savetxt(tmp_path / "a.txt", features)
    got = datasets.read_features(tmp_path / "a.txt")
    np.testing.assert_array_equal(got, features)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fixed", [False, True])
def test_lists_of_arrow(tmp_path, features, ids, fixed, stream):
    kind = pa.list_(pa.float32(), 12 if fixed else -1)
    rows = pa.array(features.tolist(), kind)
    extra = pa.array([{"bytes": b"jpeg"}] * 50)
    table = pa.table({"name": [*ids], "embedding": rows, "image": extra})
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=20)
    got = datasets.read_table(tmp_path / "a.arrow")
    np.testing.assert_array_equal(got.features, features)
    np.testing.assert_array_equal(got.columns["name"], ids)
    assert got.vectors == ("embedding",) and [*got.columns] == ["name"]


def test_missing_labels_of_arrow(tmp_path, features):
    for values in ([1, None, 2], ["ann", None, "bo"], [1.0, float("nan"), 2.0]):
        frame = pd.DataFrame({"label": pd.array(values), "x1": 1.0, "x2": 2.0})
        for path in (tmp_path / "a.parquet", tmp_path / "a.csv"):
            getattr(frame, f"to_{path.suffix[1:]}")(path)
            labels = datasets.read_labels(path)
            known = datasets.known_identities(labels)
            np.testing.assert_array_equal(known, [True, False, True])
            assert labels.dtype.kind == "U" or labels[0] == 1


def test_bfloat16_of_torch(tmp_path, features):
    torch = pytest.importorskip("torch")
    import safetensors.torch

    path = tmp_path / "a.safetensors"
    half = torch.tensor(features).bfloat16()
    safetensors.torch.save_file({"emb": half}, path)
    got = datasets.read_features(path)
    assert got.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(got.astype(np.float32), half.float().numpy())
    datasets.write_features(path, got)
    assert safetensors.torch.load_file(path)["features"].equal(half)


def test_files_of_their_own_libraries(tmp_path, features, ids, people):
    faiss = pytest.importorskip("faiss")
    numpy_format = pytest.importorskip("safetensors.numpy")

    path = tmp_path / "a.safetensors"
    numpy_format.save_file({"emb": features, "who": people}, path)
    got = datasets.read_table(path)
    np.testing.assert_array_equal(got.features, features)
    np.testing.assert_array_equal(got.columns["who"], people)

    index = faiss.IndexIDMap(faiss.IndexFlatL2(12))
    index.add_with_ids(features, people)
    faiss.write_index(index, str(tmp_path / "a.index"))
    got = datasets.read_table(tmp_path / "a.index")
    np.testing.assert_array_equal(got.features, features)
    np.testing.assert_array_equal(got.columns["id"], people)
    datasets.write_features(tmp_path / "a.faiss", features)
    index = faiss.read_index(str(tmp_path / "a.faiss"))
    np.testing.assert_array_equal(index.reconstruct_n(0, 50), features)
    index = faiss.index_factory(12, "HNSW4")
    faiss.write_index(index, str(tmp_path / "a.index"))
    with pytest.raises(ValueError, match=r"kind b'IHNf'; only flat .*reconstruct_n"):
        datasets.read_table(tmp_path / "a.index")

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("net/feat", data=features, compression="gzip")
        file["names"], file["who"] = [*ids], people
    got = datasets.read_table(tmp_path / "a.h5")
    np.testing.assert_array_equal(got.features, features)
    np.testing.assert_array_equal(got.columns["names"], ids)
    labels = datasets.read_labels(tmp_path / "a.h5", column="who")
    np.testing.assert_array_equal(labels, people)


def test_a_folder_of_vectors(tmp_path, features):
    for number, row in enumerate(features[:6]):
        (tmp_path / f"p{number // 2}").mkdir(exist_ok=True)
        np.save(tmp_path / f"p{number // 2}" / f"{number}.npy", row)
    got = datasets.read_table(tmp_path)
    np.testing.assert_array_equal(got.features, features[:6])
    assert got.columns["id"][3] == "p1/3"
    people = datasets.read_labels(tmp_path)
    np.testing.assert_array_equal(people, ["p0", "p0", "p1", "p1", "p2", "p2"])
    np.save(tmp_path / "p0" / "odd.npy", features[0, :3])
    with pytest.raises(ValueError, match=r"odd.npy: got float32 \(3,\), expected"):
        datasets.read_table(tmp_path)


def test_eight_bytes_of_header_in_a_bin(tmp_path, features):
    datasets.write_features(tmp_path / "a.fbin", features)
    (tmp_path / "a.fbin").rename(tmp_path / "a.bin")
    np.testing.assert_array_equal(datasets.read_features(tmp_path / "a.bin"), features)


def test_integers(tmp_path, rng):
    whole = rng.integers(0, 255, (30, 4)).astype(np.uint8)
    np.save(tmp_path / "a.npy", whole)
    for spill in (None, tmp_path):
        got = datasets.read_table(tmp_path / "a.npy", spill=spill).features
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, whole)


CSV = "id,f1,f2,x1,x2\na,1,2,3,4\nb,5,6,7,8\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CSV, r"several groups .*'f', 'x' with numbers; name one by --features_key"),
        (CSV.replace("x", "f"), "two columns have one name"),
        ("a,b\nx,y\nz,w\n", "no numeric column in it that could be the vectors"),
        ("a,b\n1,2\n3,4,5\n", "line 3: got 3 fields, expected 2"),
        ("a,b\n1,2\n3,4\n" + "5,6\n" * 200 + "7,eight\n", "line 204, column 'b': got"),
        ("a;b\n0,5;0,25\n0,5;0,25\n", "decimal commas"),
        ("\ufeff", "holds no line"),
        ("f0,f1\n", "only a header line"),
    ],
)
def test_awkward_text(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        datasets.read_features(path)


def test_awkward_tables(tmp_path, features):
    path = tmp_path / "a.csv"
    path.write_text(CSV)
    got = datasets.read_table(path, key="x")
    np.testing.assert_array_equal(got.features, [[3, 4], [7, 8]])
    path.write_text("pk,a,b\n7,1,2\n8,3,\n")
    got = datasets.read_table(path, without=["pk", None])
    np.testing.assert_array_equal(got.features, [[1, 2], [3, np.nan]])
    with pytest.raises(ValueError, match=r"NaN.*rows 1 .*row 1 in column 1"):
        datasets.check_features(got.features)
    ragged = pa.table({"v": [[1.0, 2.0], [3.0]]})
    pq.write_table(ragged, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="row 1 holds 1, expected 2 values"):
        datasets.read_features(tmp_path / "a.parquet")
    twice = pa.table([[1.0], [2.0]], names=["f", "f"])
    pq.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="two columns have one name"):
        datasets.read_features(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("suffix", "line"),
    [(".pt", "torch.load"), (".pkl", "pickle.load"), (".mat", "loadmat")],
)
def test_formats_of_code(tmp_path, suffix, line):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(pickle.dumps([1]))
    with pytest.raises(ValueError, match=rf"numpy.save\('features.npy', .*{line}"):
        datasets.read_features(path)


@pytest.mark.parametrize("suffix", [".fbin", ".fvecs", ".u8bin", ".f16bin"])
def test_values_that_a_format_cannot_hold(tmp_path, rng, suffix):
    with pytest.raises(ValueError, match=r"values are float64.*gfa convert --dtype="):
        datasets.write_features(tmp_path / f"a{suffix}", rng.normal(size=(3, 4)))
    assert not [*tmp_path.iterdir()]


def test_one_odd_label_does_not_fill_the_memory(tmp_path):
    lines = ["a"] * 80_000 + ["b" * 60_000]
    (tmp_path / "a.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"row 80000 .*holds 60000 characters"):
        datasets.read_labels(tmp_path / "a.txt")


def test_whole_numbers_of_another_sign_are_not_wrapped(tmp_path):
    path, rows = tmp_path / "a.i8bin", np.full((3, 4), 200, np.uint8)
    with pytest.raises(ValueError, match="values are uint8, the format holds int8"):
        datasets.write_table(path, datasets.Table(rows))
    datasets.write_table(path, datasets.Table(rows // 2))
    assert np.array_equal(datasets.read_table(path).features, rows // 2)
