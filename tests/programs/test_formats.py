"""Files as people have them, through the programs and back with their ids."""

import itertools

import numpy as np
import pytest

from gfa_jax import datasets
from tests.programs.programs import call, refine, refuse, succeed

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")


@pytest.fixture(scope="module")
def sample():
    return datasets.synthetic_features(num_rows=300, dim=16, seed=1)


@pytest.fixture
def files(tmp_path, sample):
    features, labels = sample.features, sample.labels
    columns = {f"e{n}": features[:, n] for n in range(16)}
    ids = [f"img/{n}.jpg" for n in range(300)]
    frame = pd.DataFrame({"path": ids, **columns, "person": labels})
    frame.to_csv(tmp_path / "a.csv", sep=";")
    rows = {"pk": np.arange(300), "emb": [*features], "person": labels.astype(str)}
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    np.save(tmp_path / "a.npy", features)
    np.savetxt(tmp_path / "labels.txt", labels, "%d")
    return tmp_path


FLAGS = ["--k=8", "--threshold=0.4", "--num_steps=1", "--plots=none"]


def test_refined_rows_come_back_as_they_came(files):
    given = [f"--features={files}/a.npy", f"--labels={files}/labels.txt"]
    want, told = refine(files / "npy", *given, *FLAGS)
    for name, program in (("a.csv", "refine"), ("a.parquet", "streamed")):
        given = [f"--features={files}/{name}", "--labels_column=person"]
        path = files / "out" / f"refined.{name[2:]}"
        said = succeed(program, *given, *FLAGS, f"--output_dir={path.parent}").stdout
        assert f"{files}/out: {path.name}, dropped.npy, report.json" in said
        read = pd.read_csv if path.suffix == ".csv" else pd.read_parquet
        source = read(files / name, **({"sep": ";"} if path.suffix == ".csv" else {}))
        got = read(path)
        assert {*got.columns} == {*source.columns, "dropped"}
        for column in {"path", "pk", "person"} & {*got.columns}:
            assert (got[column] == source[column]).all()
        rows = datasets.read_features(path)
        np.testing.assert_allclose(rows, want, rtol=0, atol=1e-6)
        if program == "refine":
            np.testing.assert_array_equal(rows, want)
    assert told["pool"]["identities"] == source["person"].nunique()


def test_clusters_come_back_with_ids(files):
    plain = ["--method=components", *FLAGS]
    for name, end in (("a.csv", "csv"), ("a.parquet", "feather"), ("a.npy", None)):
        given = [f"--features={files}/{name}", f"--output_dir={files}/{name}_"]
        if end == "feather":
            given.append("--output_format=feather")
        succeed("cluster", *given, *plain)
        labels = np.load(files / f"{name}_" / "labels.npy")
        if end is None:
            assert not [*(files / f"{name}_").glob("labels.[!n]*")]
            continue
        read = {"csv": pd.read_csv, "feather": pd.read_feather}[end]
        got = read(files / f"{name}_" / f"labels.{end}")
        np.testing.assert_array_equal(got["cluster"], labels)
        key = "path" if end == "csv" else "pk"
        assert {key, "person", "confidence", "dropped"} <= {*got.columns}
        assert got[key].iloc[7] == ("img/7.jpg" if end == "csv" else 7)


def test_convert(files, sample):
    chain = ["a.csv", "b.parquet", "b.h5", "b.npz", "b.safetensors", "b.fbin", "c.npy"]
    for source, target in itertools.pairwise(chain):
        said = succeed("convert", f"{files}/{source}", f"{files}/{target}")
        assert "300 rows of 16 float32 values" in said.stdout
        left = "has no place for" in said.stderr
        assert left == (target in ("b.safetensors", "b.fbin"))
    np.testing.assert_array_equal(np.load(files / "c.npy"), sample.features)
    np.testing.assert_array_equal(np.load(files / "b.npz")["person"], sample.labels)
    half = [f"--source={files}/c.npy", f"--target={files}/d.f16bin"]
    refused = call("convert", *half)
    assert refused.returncode == 2 and "--dtype=float16" in refused.stderr
    succeed("convert", *half, "--dtype=float16")
    assert datasets.read_features(files / "d.f16bin").dtype == np.float16
    help_ = call("convert", "--help").stdout.splitlines()
    assert len(help_) < 40


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--features={}/a.csv", "--labels_column=who"], "it has '', 'path', 'person'"),
        (["--features={}/a.npy", "--labels_column=who"], "beside the vectors"),
        (["--features={}/a.csv", "--features_key=f"], "no column 'f'"),
        (["--features={}/two.csv"], "name one by --features_key"),
        (["--features={}/a.pt"], "torch.load"),
    ],
)
def test_wrong_calls(files, flags, message):
    (files / "two.csv").write_text("a1,a2,b1,b2\n1,2,3,4\n5,6,7,8\n")
    refuse(files, message, *(flag.format(files) for flag in flags))


@pytest.mark.parametrize("program", ["cluster", "tune", "verify"])
def test_what_is_no_data_file_is_refused_by_every_program(files, program):
    given = f"--features={files}/a.pt", f"--labels={files}/l.txt"
    refused = call(program, *given)
    assert refused.returncode == 2 and "torch.load" in refused.stderr
