"""Two real processes on loopback, joined by gloo, give what one device gives."""

import os
import pathlib
import socket
import subprocess
import sys

import numpy as np

import gfa_jax as gfa
from tests.problems import clustered_features

HOST_RESULTS = (
    "labels",
    "confidence",
    "false_accepts",
    "true_accepts",
    "tail",
    "metrics_false_accepts",
)
SCRIPT = pathlib.Path(__file__).with_name("two_processes.py")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_two_processes_give_what_one_device_gives(rng, tmp_path):
    features = clustered_features(rng, num_rows=61, dim=8).astype(np.float32)
    np.save(tmp_path / "features.npy", features)
    port = free_port()
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                SCRIPT,
                str(process),
                str(port),
                tmp_path / "features.npy",
                tmp_path / "refined.npz",
            ],
            env=os.environ
            | {
                "JAX_PLATFORMS": "cpu",
                "PYTHONPATH": str(SCRIPT.parent.parent.parent),
                "XLA_FLAGS": "--xla_force_host_platform_device_count=2"
                " --xla_backend_optimization_level=0",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for process in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=180)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output[-4000:]

    got = np.load(tmp_path / "refined.npz", allow_pickle=False)
    neighbors = gfa.exact_neighbors(features, k=6)
    np.testing.assert_array_equal(got["indices"][:61], neighbors.indices)
    check_host_results(got, features, neighbors)
    for run in ("gather_fixed", "ring_rescore", "whole_fixed"):
        graph = "fixed" if run.endswith("fixed") else "rescore"
        want = gfa.aggregate(
            features,
            neighbors,
            gfa.Params(0.6, 0.4),
            num_steps=2,
            options=gfa.Options(graph=graph),
        )
        num_rows = 61 if run.startswith("whole") else 64
        assert got[f"{run}_features"].shape == (num_rows, 8)
        for name, expected in want._asdict().items():
            # float32: the sums over shards run in another order.
            np.testing.assert_allclose(
                got[f"{run}_{name}"][: len(expected)], expected, rtol=0, atol=1e-6
            )


def check_host_results(got, features, neighbors) -> None:
    np.testing.assert_array_equal(got["faiss"][:61], neighbors.indices)
    whole = {name: got[name].reshape(2, -1) for name in HOST_RESULTS}
    for name in HOST_RESULTS:
        np.testing.assert_array_equal(*whole[name])
    clusters = gfa.cluster(features, neighbors, threshold=0.8, max_size=9)
    np.testing.assert_array_equal(whole["labels"][0], clusters.labels)
    np.testing.assert_allclose(
        whole["confidence"][0], clusters.confidence, rtol=0, atol=1e-6
    )
    np.testing.assert_array_equal(
        whole["false_accepts"][0], whole["metrics_false_accepts"][0]
    )
    assert whole["true_accepts"][0][-1] == 20 * 3
    assert len(whole["tail"][0]) <= 100
