"""`compare` end to end, and its parts against whole matrices."""

import json
import math

import numpy as np
import pytest

from experiments.studies import compare, evidence
from experiments.studies.comparison import contest, methods, search, summary
from gfa_jax import datasets, metrics
from gfa_jax.programs import cli, halves, inputs
from tests import oracle
from tests.programs.programs import call

_FPRS = (1e-2, 1e-1)


@pytest.fixture(scope="module")
def sample():
    return datasets.synthetic_features(num_rows=240, dim=16, seed=1, max_size=12)


@pytest.fixture
def files(tmp_path, sample):
    np.save(tmp_path / "features.npy", sample.features)
    np.save(tmp_path / "labels.npy", sample.labels)
    return tmp_path


def tprs_of_the_list(scores: np.ndarray, labels: np.ndarray) -> list[float]:
    """TPRs at the targets from the whole matrix of scores."""
    first, second = np.triu_indices(len(labels), 1)
    roc = metrics.roc_curve(scores[first, second], labels[first] == labels[second])
    return [point.tpr for point in metrics.tpr_at_fpr(roc, _FPRS)]


def test_each_method_chooses_on_one_half_and_reports_on_the_other(files, sample):
    command = [
        "compare",
        f"--features={files}/features.npy",
        f"--labels={files}/labels.npy",
        f"--output_dir={files}/out",
        "--methods=raw,alpha query expansion,default",
        "--trials=3",
        "--splits=2",
        "--max_k=8",
        "--fprs=1e-2,1e-1",
        "--resamples=5",
    ]
    result = call(*command)
    assert result.returncode == 0, result.stderr
    table = (files / "out" / "tables.md").read_text()
    assert table in result.stdout
    assert "at 1e-02: first is" in table
    picture = files / "out" / "tradeoff.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    report = json.loads((files / "out" / "report.json").read_text())
    found = report["sets"]["features.npy"]["methods"]
    assert list(found) == ["raw", "alpha query expansion", "default"]

    people = np.unique(sample.labels)
    for number in range(2):
        order = np.random.default_rng(number).permutation(people)
        on_first = np.isin(sample.labels, order[: len(people) // 2])
        F, names = (column[~on_first] for column in (sample.features, sample.labels))
        split = found["alpha query expansion"][number]
        assert len(split["tried"]) == 3
        # The figures of a whole, dense query expansion of the other half.
        A = F.astype(float) @ F.T
        near = np.sort(A, axis=1)[:, [-split["setting"]["k"]]] <= A
        G = (near * np.maximum(A, 0) ** split["setting"]["alpha"]) @ F
        for name, rows in (("raw", F), ("alpha query expansion", oracle.unit_rows(G))):
            want = tprs_of_the_list(rows @ rows.T, names)
            # A pair or two where scores tie in float32.
            assert found[name][number]["tpr"] == pytest.approx(want, abs=0.01)
            assert np.shape(found[name][number]["draws"]) == (5, 2)
    for name, splits in found.items():
        assert splits[0]["search"] > 0 < splits[0]["run"], name


def sets_of(folder, sample, *, with_queries: str) -> None:
    for number, name in enumerate(("first", "second")):
        arrays = {"features": np.roll(sample.features, number, axis=1)}
        arrays["labels"] = sample.labels
        if name == with_queries:
            rows = np.arange(len(sample.labels))
            arrays |= {"camera": rows % 3, "is_query": rows % 4 == 0}
            arrays["is_gallery"] = rows % 4 != 0
        np.savez(folder / f"{name}.npz", **arrays)


def test_many_sets_go_on_where_they_were_cut(tmp_path, sample, monkeypatch):
    sets_of(tmp_path, sample, with_queries="second")
    methods_ = "raw,CSLS,camera-aware Jaccard,alpha query expansion,default"
    argv = [
        f"--sets={tmp_path}",
        f"--output_dir={tmp_path}/out",
        f"--methods={methods_}",
        *("--trials=2", "--splits=1", "--max_k=8", "--fprs=1e-2", "--resamples=4"),
        "--max_rows=200",
    ]
    compete, made = contest.compete, []

    def counted(*halves, **options):
        made.append(halves[0].given.pool.name)
        return compete(*halves, **options)

    monkeypatch.setattr(contest, "compete", counted)
    cli.run(compare, ["compare", *argv])
    # Where no row has a camera, nothing can be told of them.
    assert made == ["first"] * 4 + ["second"] * 5
    out = tmp_path / "out"
    report = json.loads((out / "report.json").read_text())
    text = (out / "tables.md").read_text()
    for name, rows in report["sets"].items():
        assert rows["pool"]["rows"] <= 200
        searched = {"map" in split for m in rows["methods"].values() for split in m}
        assert searched == {name == "second"}
    assert "| camera-aware Jaccard | 1 |" in text and "†" in text
    # A cell that is there is not measured again, nor is one kept that was made
    # otherwise.
    (out / "cells" / "first_CSLS.json").unlink()
    made.clear()
    cli.run(compare, ["compare", *argv])
    assert made == ["first"]
    made.clear()
    cli.run(compare, ["compare", *argv[:2], "--methods=raw,default", *argv[3:-1]])
    assert made == ["first"] * 2 + ["second"] * 2  # all rows


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["{both}", "--methods=raw,default,magic"], "'magic' is unknown"),
        (["{both}", "--methods=raw,diffusion"], "default is missing"),
        (["{both}", "--max_images=many"], "expected NAME=ROWS"),
        (["{both}", "--max_rows=8"], "--max_rows=8 keeps"),
        (["{both}", "--sets={}"], "--features and --sets"),
        (["{both}", "--fprs=2"], "2"),
        (["--features={}/features.npy"], "halves need identities"),
        (["{both}", "--output_dir={}/features.npy"], "--output_dir"),
    ],
)
def test_bad_input_ends_with_one_line(files, flags, message):
    both = f"--features={files}/features.npy --labels={files}/labels.npy".split()
    given = [f"--output_dir={files}/refused"]
    for flag in flags:
        given += both if flag == "{both}" else [flag.format(files)]
    result = call("compare", *given)
    assert result.returncode == 2, result.stderr
    lines = [line for line in result.stderr.splitlines() if not line.endswith(" s")]
    assert len(lines) == 1, result.stderr
    assert message in lines[0]


@pytest.fixture(scope="module")
def two_halves(sample):
    pool = inputs.Pool("sample", sample.features, np.ones(240), sample.labels, None)
    rows = np.arange(240)
    roles = rows % 4 == 0, rows % 4 != 0
    given = evidence.Set("", pool, None, rows % 3, roles)
    return [
        contest.prepare(half, max_k=12, fprs=_FPRS)
        for half in contest.split(given, seed=0)
    ]


def test_halves_are_those_of_the_other_studies(two_halves, sample):
    pool = inputs.Pool("sample", sample.features, np.ones(240), sample.labels, None)
    for half, want in zip(two_halves, halves.split(pool, seed=0), strict=True):
        np.testing.assert_array_equal(half.given.pool.features, want.features)
        np.testing.assert_array_equal(half.given.pool.labels, want.labels)
        assert len(half.given.origin) == len(half.given.roles[0]) == len(want.features)


def test_every_method_competes_with_as_many_trials(two_halves):
    outcomes = {
        name: contest.compete(
            two_halves[0],
            two_halves[1],
            method,
            trials=4,
            fprs=_FPRS,
            tolerance=0.005,
            num_resamples=0,
            seed=3,
        )
        for name, method in methods.METHODS.items()
    }
    for name, outcome in outcomes.items():
        assert len(outcome["tried"]) == (4 if methods.METHODS[name].axes else 1), name
    # The roc of every row is that of the whole matrix of its scores.
    half = two_halves[1]
    labels, origin = half.given.pool.labels, half.given.origin
    query, gallery = map(np.flatnonzero, half.given.roles)
    for name, method in methods.METHODS.items():
        features, near = method.prepare(half.given.pool.features, half.neighbors)
        extra = {"cameras": origin} if method.takes_origin else {}
        output = method.run(features, near, **extra, **outcomes[name]["setting"])
        if isinstance(output, np.ndarray):
            scores = output @ output.T
        else:
            rows, columns = np.nonzero(~np.eye(len(features), dtype=bool))
            scores = np.zeros([len(features)] * 2)
            scores[rows, columns] = output(rows, columns)
        want = tprs_of_the_list(scores, labels)
        assert outcomes[name]["tpr"] == pytest.approx(want, abs=0.02), name
        ranks = metrics.rank_scores(
            scores[np.ix_(query, gallery)],
            *(labels[query], labels[gallery]),
            query_cameras=origin[query],
            gallery_cameras=origin[gallery],
        )
        want = metrics.mean_average_precision(ranks)
        assert outcomes[name]["map"] == pytest.approx(want, abs=0.01), name


def test_large_identities_can_be_left_out(two_halves):
    given = two_halves[0].given
    half = contest.prepare(given._replace(max_images=4), max_k=12, fprs=_FPRS)
    features, labels = given.pool.features, given.pool.labels
    sizes = np.bincount(labels)
    small = int(sum(n * (n - 1) // 2 for n in sizes if n <= 4))
    assert sizes.max() > 4 and 0 < small < two_halves[0].raw.roc.num_genuine
    for output in (
        features,
        methods.METHODS["k-reciprocal"].run(
            features, half.neighbors, k1=6, k2=2, cosine_share=0.3
        ),
        methods.METHODS["CSLS"].run(features, half.neighbors, k=3),
    ):
        assert half.measure(output).roc.num_genuine == small


@pytest.mark.parametrize("name", [n for n, m in methods.METHODS.items() if m.axes])
def test_trials_stay_within_what_the_pool_allows(name):
    method, limits = methods.METHODS[name], methods.Range(20, 0.2, 0.7)

    def tried(seed: int) -> list[methods.Setting]:
        cells = search.search(
            method,
            lambda setting: [0.5],
            [0.5],
            trials=50,
            seed=seed,
            limits=limits,
        )
        return [setting for setting, _ in cells]

    settings = tried(1)
    assert len(settings) == 50
    assert settings == tried(1) != tried(2)
    for setting in settings:
        assert list(setting) == list(method.axes)
        assert all(1 <= setting[k] <= 20 for k in ("k", "k1", "k2") if k in setting)
        assert 0.2 <= setting.get("threshold", 0.2) <= 0.7
        assert math.isfinite(sum(map(float, method.strength(setting))))
    for axis in method.axes:  # every axis is searched
        assert len({setting[axis] for setting in settings}) > 1


def test_later_trials_come_near_the_best_of_the_earlier():
    asked = []

    def evaluate(setting: methods.Setting) -> list[float]:
        asked.append(setting)
        # 0.4 lies under the raw features, however good the other target is.
        good = 0.6 - abs(setting["alpha"] - 6.0) / 100
        return [0.5, good] if setting["k"] >= 10 else [0.4, 0.9]

    cells = search.search(
        methods.METHODS["alpha query expansion"],
        evaluate,
        [0.5, 0.5],
        trials=40,
        seed=0,
        limits=methods.Range(40, 0.2, 0.7),
    )
    alphas = np.array([setting["alpha"] for setting, _ in cells])
    far = np.abs(alphas - 6.0)
    assert far[20:].mean() < far[:20].mean() / 2
    assert np.ptp(alphas[20:]) <= 0.4 * 8.0 * 1.5  # the best moves a little
    keys = [tuple(setting.values()) for setting in asked]
    assert len(keys) == len(set(keys))  # nothing is measured twice


def outcome(tpr: float, *, width: float | None, seconds: float = 1.0):
    found = {"tpr": [tpr], "reliable": [tpr < 0.9], "search": seconds, "run": 0.0}
    if width is not None:
        found |= {"lower": [tpr - width], "upper": [tpr + width]}
        found["draws"] = [[tpr - width]] * 20 + [[tpr + width]] * 20
    return found


def test_the_verdict_names_the_first_and_the_fastest_near_it():
    outcomes = {
        "raw": [outcome(tpr, width=0.1, seconds=9.0) for tpr in (0.4, 0.5)],
        "slow": [outcome(tpr, width=0.1, seconds=3.0) for tpr in (0.7, 0.9)],
        "quick": [outcome(tpr, width=None) for tpr in (0.71, 0.884)],
        "default": [outcome(tpr, width=0.1) for tpr in (0.69, 0.78)],
    }
    table = summary.cells(outcomes)
    assert table["slow"][0] == pytest.approx((0.8, 0.7, 0.9, False))
    assert table["quick"][0] == pytest.approx((0.797, 0.71, 0.884, True))
    (said,) = summary.verdicts(outcomes, (1e-2,))
    assert said["first"] == "slow" and said["fastest"] == "quick"
    assert "default" in said["within"] and "raw" not in said["within"]
    assert said["behind"] == pytest.approx(0.065)
    text = summary.render_set(outcomes, (1e-2,))
    assert "| slow | .800* [.700, .900] | 3.00 |" in text
    assert "first is slow; the default is 0.065 behind, within its interval" in text


def test_sets_are_summed_up_and_wins_over_the_default_listed():
    def of(raw, better, default):
        values = {"raw": raw, "better": better, "default": default}
        return {name: [outcome(tpr, width=0.1)] for name, tpr in values.items()}

    sets = {"a": of(0.4, 0.8, 0.6), "b": of(0.5, 0.49, 0.7)}
    sets["b"]["better"][0] |= {"map": 0.25, "cmc1": 0.5}
    tables = summary.render_all(sets, (1e-2,))
    assert (
        "| better | 2 | .645 | 1 of 2 | 1 of 2 | 1 of 2 | 1 of 2 | .250 .500 | 1.00 |"
        in tables["methods"]
    )
    assert "| better | **.800**† | .490 |" in tables["1e-02"]
    assert tables["over the default"].splitlines()[2:] == [
        "| a | 1e-02 | .600 | better | +.200 [+0.200, +0.200] |"
    ]
