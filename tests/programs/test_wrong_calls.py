"""Wrong calls: each is one line that names the flag which cures it, and code 2."""

import json
import os
import re

import numpy as np
import pytest

from tests.programs.programs import call

ROWS = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder of files of all kinds that a person gets wrong."""
    folder = tmp_path_factory.mktemp("wrong")
    nan, zero = ROWS.copy(), ROWS.copy()
    nan[3], zero[3] = np.nan, 0
    arrays = {
        "x": ROWS,
        "nan": nan,
        "zero": zero,
        "one": ROWS[:1],
        "vector": ROWS[0],
        "complex": ROWS.astype(complex),
        "short": np.arange(39),
        "y": np.repeat(np.arange(8), 5),
        "all": np.arange(40),
        "far": np.full((40, 3), 77),
        "few": np.zeros((9, 3), int),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    np.savez(folder / "two.npz", a=ROWS, b=ROWS)
    ROWS.tofile(folder / "raw.bin")
    texts = {"empty.npy": "", "bad.npy": "NUMPY", "x.json": "{}", "a.csv": "0,99,1\n"}
    texts |= {"b.csv": "0,1\n0,9\n", "p.json": json.dumps({"threshold": 1, "gama": 1})}
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "folder").mkdir()
    (folder / "out").mkdir()
    os.mkfifo(folder / "pipe.npy")
    return folder


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        ("refine --features=none.npy", "--features=none.npy: No such file"),
        ("refine --features=folder", "--features=folder: "),
        ("refine --features=pipe.npy", "--features=pipe.npy: it is a device or pipe"),
        ("refine --features=empty.npy", "--features=empty.npy: the file is empty"),
        ("refine --features=bad.npy", "--features=bad.npy: "),
        ("refine --features=nan.npy", "--features=nan.npy: 1 of 40 rows hold NaN"),
        ("refine --features=zero.npy", "--features=zero.npy: 1 of 40 rows are zero"),
        ("refine --features=one.npy", "--features=one.npy: got 1 rows, expected at le"),
        ("refine --features=vector.npy", "--features=vector.npy: got 1 dimensions"),
        ("refine --features=complex.npy", "--features=complex.npy: got dtype complex"),
        ("refine --features=two.npz", "name one by --features_key"),
        ("refine --features=raw.bin", "give --dim"),
        ("refine --features=raw.bin --dim=7", "--dim (dim=) is wrong"),
        ("refine --labels=short.npy", "--labels: got 39, expected 40"),
        ("refine --labels=all.npy", "leave --labels out"),
        ("refine --labels=two.npz", "give --labels_column"),
        ("refine --labels=folder", "--labels=folder: "),
        ("refine --pairs=a.csv", "--pairs: 1 of 1 point outside the 40 rows"),
        ("refine --pairs=b.csv", "or --labels"),
        ("refine --candidates=far.npy", "--candidates=far.npy: row 0 holds 77"),
        ("refine --candidates=few.npy", "--candidates=few.npy: got candidates of 9"),
        ("refine --params=p.json", "--params=p.json: 'gama' is no setting"),
        ("refine --features=folder --params=folder.js", "--params=folder.js: No such"),
        ("refine --params=x.json", "--params=x.json: expected an object of settings"),
        ("refine --params=pipe.npy", "--params=pipe.npy: it is a device or pipe"),
        ("refine --params=raw.bin", "--params=raw.bin: no JSON"),
        ("refine --config=pipe.npy", "--config=pipe.npy: "),
        ("refine --k=40", "--k is 40 with 40 rows"),
        ("refine --k=2.5", "--k=2.5"),
        ("refine --threshold=2", "--threshold=2"),
        ("refine --edge_recall=nan", "--edge_recall=nan; expected a finite number"),
        ("refine --preset=papr", "--preset=papr: value should be one of <default|pap"),
        ("refine --treshold=.3", "Did you mean: threshold"),
        ("refine --fprs=2", "--fprs: FPR target 2.0"),
        ("refine --fprs=a", "--fprs=a: expected numbers"),
        ("refine stray", "'stray'; expected flags only"),
        ("refine --storage=bfloat16", "--storage is of rows in files: add --streamed"),
        ("refine --streamed --exchange=ring", "--exchange is of rows on devices"),
        ("refine --streamed --candidates=far.npy", "leave --candidates"),
        ("refine --features=out", "--features=out is an input and would be overwri"),
        ("refine --output_dir=y.npy", "--output_dir=y.npy: File exists"),
        ("refine --output_dir=/proc/x", "--output_dir=/proc/x: "),
        ("refine --config=x.json", "--config=x.json: expected report.json"),
        ("cluster --method=persistent --merge_threshold=.5", "--merge_threshold is n"),
        ("cluster --images=folder", "--images=folder holds 0 images"),
        ("cluster --num_processes=2", "add --streamed"),
        ("cluster --streamed --method=leiden --features=x.npy", "--method=leiden"),
        ("cluster --streamed --review=3 --features=x.npy", "leave --streamed out"),
        ("tune", "expected --labels"),
        ("tune --labels=y.npy --threshold=a", "--threshold=a"),
        ("tune --labels=y.npy --k=50", "--k is 50 with 20 rows"),
        ("tune --labels=y.npy --fpr=0", "--fpr=0"),
        ("verify", "--labels or --pairs"),
        ("verify folder", "no report.json"),
        ("verify a b", "expected RESULTS and flags only"),
    ],
)
def test_a_wrong_call_is_one_line_that_names_the_cure(files, monkeypatch, words, cure):
    monkeypatch.chdir(files)
    before = sorted(files.rglob("*"))
    program, *given = words.split()
    defaults = {"--features": "x.npy", "--output_dir": "out"}
    for flag, value in defaults.items():
        if not any(word.startswith(flag) for word in given):
            given.append(f"{flag}={value}")
    result = call(program, *given)
    assert (result.returncode, result.stdout) == (2, ""), result.stderr
    said = result.stderr.splitlines()
    # The seconds of a stage are said on a slow machine.
    (line,) = (line for line in said if not re.fullmatch(r"\w+: [\d.]+ s", line))
    assert line.startswith(f"{program}: ") and cure in line
    assert sorted(files.rglob("*")) == before
