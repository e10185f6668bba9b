"""What the studies refuse before anything is written: one line, exit code 2."""

import numpy as np
import pytest

from gfa_jax import datasets
from tests.programs.programs import refuse, write_pool

REFUSED = {
    "ablation": [
        ("{pool} --ks=4,600", "k is 600"),
        ("{pool} --thresholds=2", "threshold is 2; expected a value in [-1, 1]"),
        ("{pool} --steps=-1", "--steps has -1; expected 0 or more"),
        ("{pool} --gammas=", "--gammas is empty"),
    ],
    "benchmarks": [
        ("--stages=speed", "speed"),
        ("--stages=", ""),
        ("--sizes=10", "10"),
        ("--sizes=x", "x"),
    ],
    "cluster_scale": [
        ("--rules=unknown", "--rules=unknown: expected some of"),
        ("--sizes=many", "--sizes=many: expected numbers"),
        ("--sizes=15 --tuning_rows=300 --trials=2", "k is 15"),
        ("--trials=0", "--trials=0"),
        ("--k=1", "--k=1"),
    ],
    "compare_clusters": [
        ("{pool} --clusterers=ours,x", "--clusterers=ours,x: expected some of"),
        ("{pool} --clusterers=", "--clusterers=: expected some of"),
        ("{pool} --trials=0", "--trials=0"),
        ("{pool} --splits=0", "--splits=0"),
        ("{features}", "expected --labels"),
        ("{features} --labels={folder}/short.npy", "400"),
    ],
    "end_to_end": [
        ("--batch_views=7 --views=6", "--batch_views=7; expected 2 to 6"),
        (
            "--k=48 --choosing_identities=8 --test_identities=8 --views=6",
            "--k=48 with 48 rows to choose or test on",
        ),
        ("--seeds=-1", "--seeds=-1: expected 0 to 2**32 - 1"),
    ],
    "evidence": [
        ("", "--sets is missing"),
        ("--sets={folder}/no_set.npz", "features"),
        ("--sets={folder} --table=other", "should be one of"),
    ],
    "gradient_modes": [
        ("--steps=0", "--steps=0"),
        ("--rows=64 --columns=16 --k=64", "k is 64 with 64"),
    ],
    "holdout": [
        ("{pool} --k=5,x", "--k=5,x"),
        ("{pool} --k=400", "k is 400"),
        ("{pool} --threshold=2", "threshold is 2"),
        ("{pool} --gamma=", "--gamma"),
        ("{pool} --num_steps=-2", "num_steps"),
    ],
    "kmeans_speed": [
        ("--rows=50 --clusters=9 --k=3,4", "make 2 settings; expected one"),
    ],
}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """What the flags name: a pool, labels that do not fit, a file that is no set."""
    folder = tmp_path_factory.mktemp("given")
    sample = datasets.synthetic_features(num_rows=400, dim=16, seed=2, max_size=20)
    features, labels = write_pool(folder, sample)
    np.save(folder / "short.npy", np.arange(3) // 2)
    np.savez(folder / "no_set.npz", pairs=np.zeros((2, 3), int))
    return {"folder": folder, "features": features, "pool": f"{features} {labels}"}


@pytest.mark.parametrize(
    ("module", "flags", "message"),
    [(module, *case) for module, cases in REFUSED.items() for case in cases],
)
def test_it_is_refused(given, tmp_path, module, flags, message):
    flags = flags.format(**given).split()
    refuse(tmp_path, message, *flags, module=module)
