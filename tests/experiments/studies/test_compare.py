"""`compare` end to end, and its parts against whole matrices."""

import json
import math

import numpy as np
import pytest

from experiments.studies import choice
from experiments.studies.comparison import contest, cost, methods, search, summary
from gfa_jax import datasets, metrics
from gfa_jax.programs import evaluation, halves, inputs
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
    result = call(
        "compare",
        f"--features={files}/features.npy",
        f"--labels={files}/labels.npy",
        f"--output_dir={files}/out",
        "--methods=alpha query expansion,ours",
        "--trials=3",
        "--splits=2",
        "--max_k=8",
        "--fprs=1e-2,1e-1",
        "--resamples=5",
    )
    assert result.returncode == 0, result.stderr
    table = (files / "out" / "table.txt").read_text()
    assert table in result.stdout
    assert "at 1e-02: first is" in table
    picture = files / "out" / "tradeoff.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    report = json.loads((files / "out" / "report.json").read_text())
    assert list(report["methods"]) == ["raw", "alpha query expansion", "ours"]

    people = np.unique(sample.labels)
    for number in range(2):
        order = np.random.default_rng(number).permutation(people)
        on_first = np.isin(sample.labels, order[: len(people) // 2])
        pools = [sample.features[rows].astype(float) for rows in (on_first, ~on_first)]
        named = [sample.labels[rows] for rows in (on_first, ~on_first)]
        splits = {name: m["splits"][number] for name, m in report["methods"].items()}
        raw = tprs_of_the_list(pools[0] @ pools[0].T, named[0])
        for split in (splits["alpha query expansion"], splits["ours"]):
            assert len(split["tried"]) == 3
            cells = [(dict(t), t.pop("tpr")) for t in split["tried"]]
            means = {
                json.dumps(s): np.mean(tprs)
                for s, tprs in zip(split["tried"], (c[1] for c in cells), strict=True)
            }
            worst = [min(0, *np.subtract(c[1], raw)) for c in cells]
            if max(worst) == min(worst) == 0:
                best = max(means.values())
                assert means[json.dumps(split["setting"])] >= best - 0.006
        # The figures of a whole, dense query expansion of the other half.
        setting = splits["alpha query expansion"]["setting"]
        F = pools[1]
        A = F @ F.T
        near = np.sort(A, axis=1)[:, [-setting["k"]]] <= A
        G = oracle.unit_rows((near * np.maximum(A, 0) ** setting["alpha"]) @ F)
        for name, rows in (("raw", F), ("alpha query expansion", G)):
            want = tprs_of_the_list(rows @ rows.T, named[1])
            points = splits[name]["verification"]["tpr_at_fpr"]
            # A pair or two where scores tie in float32.
            assert [p["tpr"] for p in points] == pytest.approx(want, abs=0.01)
    for name, method in report["methods"].items():
        tprs = [s["verification"]["tpr_at_fpr"][0]["tpr"] for s in method["splits"]]
        assert method["cells"][0]["tpr"] == pytest.approx(np.mean(tprs))
        assert method["cost"]["peak_bytes"] > 2**24
        assert (method["cost"]["search"] > 0) == (name != "raw")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["{both}", "--methods=ours,magic"], "'magic' is unknown"),
        (["{both}", "--methods=diffusion"], "ours is missing"),
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
    return [
        contest.prepare(half, max_k=12, fprs=_FPRS, max_images=None)
        for half in halves.split(pool, seed=0)
    ]


def test_every_method_competes_with_as_many_trials(two_halves):
    pytest.importorskip("faiss")
    choosing, reported = two_halves
    outcomes = contest.compete(
        choosing,
        reported,
        methods.METHODS,
        trials=4,
        fprs=_FPRS,
        tolerance=0.005,
        num_resamples=0,
        seed=3,
        progress=lambda settings, **_: settings,
    )
    assert list(outcomes) == ["raw", *methods.METHODS]
    numbers = {name: len(outcome.tried) for name, outcome in outcomes.items()}
    assert numbers.pop("raw") == 0
    for name in ("default, no label", "query expansion of 10"):
        assert numbers.pop(name) == 1
    assert set(numbers.values()) == {4}
    # The same settings and the same mathematics, written twice.
    csr, paper = outcomes["FAISS + CSR"], outcomes["paper preset"]
    for (a, tprs), (b, same) in zip(csr.tried, paper.tried, strict=True):
        assert a == b
        assert tprs == pytest.approx(same, abs=0.02)  # pairs that tie in float32
    # The roc of every row is that of the whole matrix of its scores.
    half = two_halves[1]
    for name, method in methods.METHODS.items():
        setting = outcomes[name].setting
        assert setting is not None and half.pool.labels is not None
        output = method.run(half.pool.features, half.neighbors, **setting)
        if isinstance(output, np.ndarray):
            scores = output @ output.T
        else:
            rows, columns = np.nonzero(~np.eye(len(half.pool.features), dtype=bool))
            scores = np.zeros([len(half.pool.features)] * 2)
            scores[rows, columns] = output(rows, columns)
        got = choice.tprs(outcomes[name].verification)
        want = tprs_of_the_list(scores, half.pool.labels)
        assert got == pytest.approx(want, abs=0.02), name


def test_large_identities_can_be_left_out(two_halves):
    pool = two_halves[0].pool
    half = contest.prepare(pool, max_k=12, fprs=_FPRS, max_images=4)
    sizes = np.bincount(pool.labels)[pool.labels]
    small = int(sum(n * (n - 1) // 2 for n in np.bincount(pool.labels) if n <= 4))
    assert (sizes > 4).any() and 0 < small < two_halves[0].raw.roc.num_genuine
    for output in (
        pool.features,
        methods.METHODS["k-reciprocal"].run(
            pool.features, half.neighbors, k1=6, k2=2, cosine_share=0.3
        ),
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
            range(50),
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
        range(40),
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


def test_what_runs_in_a_fresh_process_is_not_charged_for_this_one(tmp_path):
    ballast = np.ones(2**26)  # half a gigabyte, touched
    np.save(tmp_path / "rows.npy", np.eye(8, dtype=np.float32))
    alone = cost.measure(tmp_path / "rows.npy", "raw", None)
    assert 2**24 < alone.peak_bytes < ballast.nbytes


def point(tpr: float, false_accepts: int) -> metrics.OperatingPoint:
    return metrics.OperatingPoint(
        fpr_target=1e-2, tpr=tpr, fpr=1e-2, threshold=0.5, false_accepts=false_accepts
    )


def outcome(tprs: tuple[float, float], *, width: float | None) -> list[contest.Outcome]:
    roc = metrics.roc_curve([0.1, 0.9], [False, True])

    def draws(tpr: float) -> metrics.ResampledTprs | None:
        if width is None:
            return None
        ends = np.repeat([[tpr - width], [tpr + width]], 20, axis=0)
        return metrics.ResampledTprs((1e-2,), ends, np.ones(40, int))

    return [
        contest.Outcome(
            {},
            [],
            evaluation.Verification(
                roc,
                metrics.score_histogram([0.1, 0.9], [False, True]),
                (point(tpr, 9 + number),),
                draws(tpr),
            ),
            0.0,
        )
        for number, tpr in enumerate(tprs)
    ]


def test_the_verdict_names_the_first_and_the_fastest_near_it():
    by_method = {
        "raw": outcome((0.4, 0.5), width=0.1),
        "slow": outcome((0.7, 0.9), width=0.1),
        "quick": outcome((0.71, 0.884), width=None),
        "ours": outcome((0.69, 0.78), width=0.1),
    }
    splits = [{n: o[i] for n, o in by_method.items()} for i in (0, 1)]
    table = summary.cells(splits)
    assert table["slow"][0] == pytest.approx((0.8, 0.7, 0.9, False))
    assert table["quick"][0] == pytest.approx((0.797, 0.71, 0.884, False))
    seconds = {"raw": 0.0, "slow": 3.0, "quick": 1.0, "ours": 0.5}
    costs = {n: cost.Cost(s / 2, s / 2, s, 2**20) for n, s in seconds.items()}
    (said,) = summary.verdicts(table, costs, (1e-2,))
    assert said["first"] == "slow" and said["fastest"] == "quick"
    assert said["ours_within_interval"] and said["behind"] == pytest.approx(0.065)
    text = summary.render(table, costs, (1e-2,), [said])
    assert "0.800* [0.700, 0.900]  1.500          3.000   1" in text
    assert "first is slow; ours is 0.065 behind, within its interval" in text
