"""`ablation` end to end: every cell measured once, and as the library gives it."""

import numpy as np

import gfa_jax as gfa
from experiments.studies import forms
from gfa_jax import datasets, metrics
from tests.programs.programs import read_report, succeed, write_pool

_SMALL = (
    "--k=8",
    "--ks=4,8",
    "--thresholds=0.4,0.6",
    "--gammas=0.5,1",
    "--steps=1,2",
    "--num_steps=2",
    "--fprs=1e-3,1e-2",
)


def test_every_cell_is_there_and_is_what_the_library_gives(tmp_path):
    sample = datasets.synthetic_features(num_rows=500, dim=32, seed=1, max_size=20)
    given, output = write_pool(tmp_path, sample), tmp_path / "out"
    result = succeed("ablation", *given, *_SMALL, f"--output_dir={output}")
    names = {"table.txt", "sweep.png", "report.json"}
    assert {path.name for path in output.iterdir()} == names
    report = read_report(output)
    settings = [tuple(cell["setting"].items()) for cell in report["cells"]]
    assert len(set(settings)) == len(settings)  # each is measured once
    cells = dict(zip(settings, report["cells"], strict=True))
    # 7 around the reference, 4 of gamma × T of which 1 is the reference, 2 × 2 of
    # K × t with and without the dropped rows.
    grid = [s for s in map(dict, settings) if s["gamma"] == 0.5 and s["num_steps"] == 2]
    assert {(s["k"], s["threshold"], s["drops"]) for s in grid} >= {
        (k, t, drops) for k in (4, 8) for t in (0.4, 0.6) for drops in (False, True)
    }
    setting = next(
        s for s in grid if (s["k"], s["drops"], s["threshold"]) == (4, True, 0.4)
    )
    wide = gfa.exact_neighbors(sample.features, k=gfa.selection.WIDTH)
    kept = forms.drop_rows(sample.features, wide)
    refined = gfa.aggregate(
        sample.features,
        kept.first(4),
        gfa.Params(0.5, 0.4),
        num_steps=2,
        options=gfa.PAPER,
    ).features
    default = forms.refine_by_default(sample.features, wide)
    for features, found in (
        (refined, cells[tuple(setting.items())]),
        (default, report["default"]),
    ):
        roc = metrics.all_pairs_roc(features, sample.labels).roc
        expected = [point.tpr for point in metrics.tpr_at_fpr(roc, (1e-3, 1e-2))]
        # The program runs in float32 and this test, as a rule, in float64: a pair on
        # the threshold may fall to either side of it.
        np.testing.assert_allclose(found["tpr"], expected, rtol=0, atol=2e-3)
    assert "least gain of all cells" in result.stdout
    assert "the default" in result.stdout
