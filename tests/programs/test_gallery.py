"""`gfa gallery`: a pool in a folder that grows, forgets and answers."""

import shutil
import sys

import numpy as np
import pytest

from gfa_jax import datasets, gallery
from gfa_jax.gallery import store
from gfa_jax.programs import cli
from gfa_jax.programs import gallery as program
from tests.problems import refused
from tests.programs.programs import call, succeed

SAMPLE = datasets.synthetic_features(num_rows=260, dim=16, seed=4)
NAMES = np.array(["007", "a,b", *(f"n{row}" for row in range(2, 260))], object)


def write(path, rows, names=None) -> str:
    columns = {} if names is None else {"name": names}
    datasets.write_table(path, datasets.Table(SAMPLE.features[rows], columns))
    return f"--features={path}"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A gallery of 200 rows, and files of others."""
    folder = tmp_path_factory.mktemp("gallery")
    first = write(folder / "first.csv", slice(200), NAMES[:200])
    write(folder / "more.parquet", slice(200, 230), NAMES[200:230])
    write(folder / "probes.npy", slice(230, 260))
    (folder / "gone.txt").write_text("a,b\nn9\n")
    # Its labels are ids of other rows.
    (folder / "gone.csv").write_text('label,name\nn3,"a,b"\nn4,n9\n')
    result = succeed("gallery", "create", f"{folder}/people", first)
    assert "200 rows of 16 values" in result.stdout
    return folder


def stop(*_):
    raise KeyboardInterrupt


def test_it_grows_and_forgets(files, tmp_path, monkeypatch):
    people = shutil.copytree(files / "people", tmp_path / "people")
    succeed("gallery", "add", f"{people}", f"--features={files}/more.parquet")
    said = succeed("gallery", "remove", f"{people}", f"--ids={files}/gone.csv").stdout
    assert "228 rows of 16 values" in said and "generation 3" in said
    assert {*store.load(people).ids} == {*NAMES[:230]} - {"a,b", "n9"}
    said = succeed("gallery", "refresh", f"{people}").stdout
    assert "generation 4" in said and "refresh is due" not in said
    assert succeed("gallery", "info", f"{people}").stdout == said
    said = succeed("gallery", "verify", f"{people}").stdout
    assert said.endswith("every file is as it was written\n")
    # An interrupt says what it did not undo.
    monkeypatch.setattr(program, "_say", stop)
    monkeypatch.setattr(cli.os, "_exit", sys.exit)
    monkeypatch.setattr(cli.signal, "signal", lambda *given: None)
    code, _, told = call("gallery", "refresh", f"{people}")
    assert (code, told) == (130, "interrupted; generation 5 was saved\n")


def test_it_answers(files, tmp_path):
    given = f"{files}/people", f"--features={files}/probes.npy"
    answers = tmp_path / "answers.csv"
    succeed("gallery", "query", *given, "--k=3", "--open_set=.1", f"--output={answers}")
    found = {
        name: datasets.read_column(answers, name)
        for name in ("probe", "rank", "id", "score", "posterior", "cluster", "known")
    }
    held = store.load(files / "people").gallery
    expected = gallery.query(held, SAMPLE.features[230:], k=3)
    np.testing.assert_array_equal(found["id"], NAMES[expected.ids.ravel()])
    clusters = held.labels[expected.ids.ravel()]  # the keys are the row numbers
    for name, wanted in (
        ("probe", np.repeat(np.arange(30), 3)),
        ("rank", np.tile([1, 2, 3], 30)),
        ("score", expected.scores.ravel()),
        ("posterior", expected.posterior.ravel()),
        ("cluster", clusters),
    ):
        got = found[name].astype(float)
        np.testing.assert_allclose(got, wanted, atol=1e-6, err_msg=name)
    threshold = gallery.impostor_threshold(held, 0.1)
    is_known = np.repeat(expected.scores[:, 0] > threshold, 3)
    np.testing.assert_array_equal(found["known"].astype(str) == "True", is_known)
    # Without --output it is printed, by default five rows a probe; there may be one.
    one = write(tmp_path / "one.npy", slice(230, 231))
    said = succeed("gallery", "query", given[0], one).stdout.splitlines()
    assert said[0].split() == ["probe", "rank", "id", "score", "posterior", "cluster"]
    assert len(said) == 1 + 5 + 1 and said[-1] == "1 probes"


def test_strangers_pass_as_often_as_asked(rng):
    # Half of the people are in the gallery, the others are strangers.
    people = rng.standard_normal((120, 16))
    rows = np.repeat(people, 8, axis=0) + 0.6 * rng.standard_normal((960, 16))
    held = gallery.create(rows[:480].astype(np.float32))
    found = gallery.query(held, rows[480:].astype(np.float32), k=1).scores[:, 0]
    for rate in (0.3, 0.1):
        passed = np.mean(found > gallery.impostor_threshold(held, rate))
        assert rate / 2 <= passed <= 2 * rate
    strictest = gallery.impostor_threshold(held, 0.0)
    assert strictest > gallery.impostor_threshold(held, 0.5)
    one = held._replace(clusters=np.zeros_like(held.clusters))
    refused("the gallery is one cluster", gallery.impostor_threshold, one, 0.1)


@pytest.fixture(scope="module")
def broken(files):
    """Beside them galleries that are none any more, and files that fit none."""
    rows = np.random.default_rng(0).standard_normal((40, 16)).astype(np.float32)
    np.save(files / "x.npy", rows[:, :8])
    np.save(files / "none.npy", rows[:0])
    for name, value in (("nan", np.nan), ("zero", 0)):
        np.save(
            files / f"{name}.npy", np.where(np.arange(40)[:, None] == 3, value, rows)
        )
    (files / "unknown.txt").write_text("N9\n")
    for name in ("empty", "version", "half", "hash"):
        shutil.copytree(files / "people", files / name)
    store.change(files / "empty", lambda stored: store.remove(stored, stored.ids))
    head = files / "version" / "head.json"
    head.write_text(head.read_text().replace('"version": 1', '"version": 99', 1))
    next((files / "half").glob("stages-*")).unlink()
    (stages,) = (files / "hash").glob("stages-*")
    stages.write_bytes(stages.read_bytes()[:-1] + b"x")
    return files


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        ("create people --features=x.npy", "holds a gallery already; name another"),
        ("create new", "--features is missing"),
        ("create new --features=nan.npy", "--features=nan.npy: 1 of 40 rows hold NaN"),
        ("create new --features=x.npy --ids=gone.txt", "--ids=gone.txt: got 2 ids"),
        ("query people --features=x.npy --ids=gone.txt", "--ids=gone.txt: got 2 ids"),
        (
            "query people --features=first.csv --output=first.csv",
            "replace what is read",
        ),
        ("create new --features=x.npy --id_column=who", "--id_column=who: "),
        ("create new --features=x.npy --k=3", "--k is not for gfa gallery create"),
        ("add people --features=x.npy", "--features: got shape (40, 8), expected"),
        ("add people --features=nan.npy", "--features=nan.npy: 1 of 40 rows hold"),
        ("add people --features=zero.npy", "zero.npy: 1 of 40 rows are zero"),
        ("add people --features=none.npy", "got 0 rows, expected at least 1"),
        ("add people --features=first.csv", "200 of 200 ids are in the gallery"),
        ("remove people --ids=unknown.txt", "1 of 1 ids are not in the gallery"),
        ("remove people", "--ids is missing"),
        ("remove people --ids=first.csv --id_column=who", "'who'; give --id_column"),
        ("query people --features=probes.npy --k=300", "--k is 300 with 200 rows"),
        ("query people --features=probes.npy --k=0", "--k=0"),
        ("query people --features=probes.npy --open_set=2", "--open_set=2"),
        (
            "query people --features=probes.npy --output=a.npy",
            "expected a format of text",
        ),
        ("query people --features=probes.npy --output=a.xyz", "got the suffix '.xyz'"),
        ("query empty --features=probes.npy", "the gallery is empty"),
        ("info nowhere", "nowhere"),
        ("info first.csv", "first.csv"),
        ("info version", "got format and version"),
        ("info half", "is not whole: stages-"),
        ("verify hash", "is not whole: stages-"),
        ("forget people", "--action=forget"),
        ("info", "path"),
    ],
)
def test_a_wrong_call_is_one_line_and_changes_nothing(broken, monkeypatch, words, cure):
    monkeypatch.chdir(broken)

    def listing():
        return {p: p.stat().st_mtime_ns for p in broken.rglob("*") if p.is_file()}

    before = listing()
    result = call("gallery", *words.split())
    assert (result.returncode, result.stdout) == (2, ""), result.stderr
    (line,) = result.stderr.splitlines()
    assert line.startswith("gallery: ") and cure in line
    assert listing() == before and not (broken / "new").exists()
