"""One of two processes of a job; run by `test_two_processes.py`.

Usage: two_processes.py PROCESS PORT FEATURES.npy OUTPUT.npz
"""

import importlib.util
import sys

import jax
import numpy as np
from jax.experimental import multihost_utils

import gfa_jax as gfa
from gfa_jax import metrics, sharding
from gfa_jax.sharding.exchange import Exchange
from gfa_jax.types import Graph

NUM_ROWS, K = 61, 6
PARAMS = gfa.Params(0.6, 0.4)
RUNS: tuple[tuple[Exchange, Graph], ...] = (("gather", "fixed"), ("ring", "rescore"))


def main(process: str, port: str, features_path: str, output_path: str) -> None:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, int(process))
    assert jax.process_count() == 2
    assert jax.device_count() == 2 * jax.local_device_count() == 4

    axis = {"mesh": sharding.row_mesh(), "axis_name": "rows"}
    features = np.load(features_path, mmap_mode="r")
    # Every process reads its own rows; the last device's are padded.
    placed = sharding.shard_rows(features, **axis)
    assert not placed.is_fully_addressable
    spread = {**axis, "num_rows": NUM_ROWS}
    neighbors = sharding.exact_neighbors(placed, k=K, **spread)
    results = {"indices": neighbors.indices}
    for exchange, graph in RUNS:
        refined = sharding.aggregate(
            placed,
            neighbors,
            PARAMS,
            num_steps=2,
            exchange=exchange,
            options=gfa.Options(graph=graph),
            **spread,
        )
        results |= {f"{exchange}_{graph}_{n}": v for n, v in refined._asdict().items()}
    # The whole array given in every process, the padding cut off again.
    whole = gfa.Neighbors(*(np.asarray(x) for x in gfa.exact_neighbors(features, k=K)))
    refined = sharding.aggregate(features, whole, PARAMS, num_steps=2, **axis)
    results |= {f"whole_fixed_{n}": v for n, v in refined._asdict().items()}
    results |= host_results(features, placed, neighbors, spread)
    gathered = {
        name: multihost_utils.process_allgather(value, tiled=True)
        for name, value in results.items()
    }
    if process == "0":
        np.savez(output_path, **gathered)


def host_results(features, placed, neighbors, spread) -> dict:
    """Clusters, curve and FAISS; what they give is whole in every process."""
    clusters = sharding.cluster(placed, neighbors, threshold=0.8, max_size=9, **spread)
    labels = np.arange(NUM_ROWS) // 3
    curve = sharding.all_pairs_roc(
        features, labels, mesh=spread["mesh"], block_size=16, tail_size=100
    )
    indices = neighbors.indices
    if importlib.util.find_spec("faiss"):
        found = sharding.faiss_neighbors(placed, k=K, **spread)
        assert isinstance(found.indices, jax.Array)
        assert not found.indices.is_fully_addressable
        indices = found.indices
    own = sharding.Layout(**spread).own
    assert sharding.gather_bytes(bytes([jax.process_index()])) == [b"\0", b"\1"]
    told = sharding.gather_arrays({"own": np.array([own.start, own.stop], np.int64)})
    assert [part["own"].tolist() for part in told] == [[0, 32], [32, NUM_ROWS]]
    error = "broken" if jax.process_index() else None
    try:
        sharding.collective_errors(error)
    except ValueError as raised:
        assert str(raised) == "process 1: broken"
    else:
        raise AssertionError("the error of process 1 was lost")
    same_everywhere = {
        "labels": clusters.labels,
        "confidence": clusters.confidence,
        "false_accepts": curve.roc.false_accepts,
        "true_accepts": curve.roc.true_accepts,
        "tail": curve.impostor_tail.scores,
        "metrics_false_accepts": metrics.all_pairs_roc(
            features, labels, block_size=16, tail_size=100
        ).roc.false_accepts,
    }
    return {"faiss": indices} | same_everywhere


if __name__ == "__main__":
    main(*sys.argv[1:])
