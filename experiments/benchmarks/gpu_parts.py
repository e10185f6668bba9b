"""What `gpu` checks and times, each part by itself: (N, dim, k, seed) to figures."""

import collections
import functools
import gzip
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gfa_jax as gfa
from experiments.benchmarks import ceilings, stages, timing
from gfa_jax import metrics
from gfa_jax.neighbors import filtered

_ROWS_PER_GROUP = 20
_COSINE = 0.6  # of two rows of a group
_MADE = 2**16  # rows at once
_CHECKED = 512  # rows whose products with all others are made in float64
_PEER_SECONDS = 6.0
_PARAMS = gfa.Params(stages.GAMMA, stages.THRESHOLD)


def make_rows(num_rows: int, dim: int, seed: int) -> tuple[jax.Array, np.ndarray]:
    """Draws unit rows [N, D] of shuffled groups of twenty, and their groups [N]."""
    key = jax.random.key(seed)
    num_groups = max(2, num_rows // _ROWS_PER_GROUP)
    labels = np.random.default_rng(seed).permutation(num_rows) % num_groups

    @jax.jit
    def make(start, groups):
        def draw(kind, number):
            own = jax.random.fold_in(jax.random.fold_in(key, kind), number)
            return jax.random.normal(own, (dim,)) / dim**0.5

        centers = jax.vmap(functools.partial(draw, 0))(groups)
        own = jax.vmap(functools.partial(draw, 1))(start + jnp.arange(len(groups)))
        rows = _COSINE**0.5 * centers + (1 - _COSINE) ** 0.5 * own
        return rows / jnp.linalg.norm(rows, axis=1, keepdims=True)

    parts = [
        make(start, labels[start : start + _MADE])
        for start in range(0, num_rows, _MADE)
    ]
    return jnp.concatenate(parts), labels


def parity(num_rows: int, *, dim: int, k: int, seed: int) -> dict[str, Any]:
    """Holds search, update and counts of pairs to float64, settings to the host's."""
    rows, labels = make_rows(num_rows, dim, seed)
    features = np.asarray(rows, np.float64)
    found, again = filtered.search_others(rows, k=k - 1)
    neighbors = gfa.exact_neighbors(rows, k=k)
    sample = np.random.default_rng(seed).choice(
        num_rows, min(_CHECKED, num_rows), replace=False
    )
    products = features[sample] @ features.T
    products[np.arange(len(sample)), sample] = -np.inf
    expected = -np.sort(-products, axis=1)[:, : k - 1]
    lists = np.asarray(found.indices).T[sample]
    by_ids = np.take_along_axis(products, lists, axis=1)

    updated = gfa.aggregate(rows, neighbors, _PARAMS, num_steps=1, options=gfa.PAPER)
    indices = np.asarray(neighbors.indices)[sample]
    cosines = np.einsum("nd,nkd->nk", features[sample], features[indices])
    weights = cosines > stages.THRESHOLD
    centers = np.einsum("nk,nkd->nd", weights.astype(float), features[indices])
    centers /= weights.sum(axis=1, keepdims=True)
    step = (1 - stages.GAMMA) * features[sample] + stages.GAMMA * centers
    if gfa.PAPER.renormalize:
        step /= np.linalg.norm(step, axis=1, keepdims=True)
    difference = np.asarray(updated.features, np.float64)[sample] - step

    lists = gfa.exact_neighbors(rows, k=min(gfa.selection.WIDTH, num_rows - 1))
    here, host = (gfa.choose_settings(each, lists) for each in (rows, np.asarray(rows)))
    # Of nearly equal weights either may be the last that counts.
    heaviest = (np.asarray(each.weights).sum(axis=1) for each in (here, host))
    weights = float(np.abs(np.subtract(*heaviest)).max())

    few = min(2000, num_rows)
    pairs = metrics.all_pairs_roc(rows[:few], labels[:few])
    upper = np.triu_indices(few, 1)
    scores = (features[:few] @ features[:few].T)[upper]
    impostor = scores[(labels[:few, None] != labels[:few])[upper]]
    threshold = pairs.roc.thresholds[len(pairs.roc.thresholds) // 2]
    result = {
        "rows": num_rows,
        "ids_within": float(np.abs(by_ids - expected).max()),
        "searched_again": again,
        "update_within": float(np.abs(difference).max()),
        "weights_within": weights if here.k == host.k else np.inf,
        "false_accepts_off": int(
            abs(
                int(pairs.roc.false_accepts[len(pairs.roc.thresholds) // 2])
                - int(np.sum(impostor >= threshold))
            )
        ),
    }
    # Float32 sums of D products are off by about 1e-7; a wrong list by far more.
    bounds = {"ids_within": 1e-6, "update_within": 1e-4, "weights_within": 1e-2}
    if any(result[name] > bound for name, bound in bounds.items()):
        raise ValueError(f"results differ from float64: {result}")
    return result


def limits(num_rows: int, *, dim: int, k: int, seed: int) -> dict[str, Any]:
    """Measures the card: products of each kind and a copy."""
    del num_rows, k, seed
    return {
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "float32_product_per_second": ceilings.product_rate(dim),
        "half_product_per_second": _half_rate(),
        "copied_bytes_per_second": ceilings.copy_rate(),
    }


def _half_rate() -> float:
    size = 8192 if jax.default_backend() != "cpu" else 512
    rows = jax.random.normal(jax.random.key(0), (size, size)).astype(jnp.float16)
    multiply = jax.jit(filtered.multiply)
    timing.seconds(lambda: multiply(rows, rows))
    best = min(timing.seconds(lambda: multiply(rows, rows)) for _ in range(5))
    return 2.0 * size**3 / best


def search(num_rows: int, *, dim: int, k: int, seed: int) -> dict[str, Any]:
    """Times exact search beside PyTorch's blocked products and top-k."""
    rows, _ = make_rows(num_rows, dim, seed)
    call = functools.partial(filtered.search_others, rows, k=k - 1)
    first = timing.seconds(lambda: call()[0])
    start = time.perf_counter()
    best, again = call()
    jax.block_until_ready(best)
    seconds = time.perf_counter() - start
    result = {
        "seconds": seconds,
        "compile_seconds": first - seconds,
        "searched_again": again,
        "operations_per_second": 2.0 * num_rows**2 * dim / seconds,
        "peak_bytes": peak_bytes(),
    }
    if jax.default_backend() == "cpu":
        swept = functools.partial(gfa.exact_neighbors, rows, k=k)
        timing.seconds(swept)
        result["by_tiles_seconds"] = timing.seconds(swept)
    host = np.asarray(rows)
    for kind in ("float32", "tf32", "bfloat16"):
        peer = _torch_search(host, k, kind)
        if peer is not None:
            result[f"torch_{kind}_seconds"] = peer
    return result


def _torch_search(rows: np.ndarray, k: int, kind: str) -> float | None:
    """Estimates PyTorch's search from as many blocks of queries as a few seconds do."""
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    on_card = torch.cuda.is_available()
    if kind == "tf32" and not on_card:
        return None
    torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
    features = torch.from_numpy(rows).to("cuda" if on_card else "cpu")
    if kind == "bfloat16":
        features = features.bfloat16()
    block = 2048 if on_card else 256

    def search_block(start: int) -> None:
        torch.topk(features[start : start + block] @ features.T, k)
        if on_card:
            torch.cuda.synchronize()

    search_block(0)
    begin, done = time.perf_counter(), 0
    while done < len(rows) and time.perf_counter() - begin < _PEER_SECONDS:
        search_block(done)
        done = min(done + block, len(rows))
    seconds = (time.perf_counter() - begin) * len(rows) / done
    if on_card:
        torch.cuda.empty_cache()
    return seconds


def updates(num_rows: int, *, dim: int, k: int, seed: int) -> dict[str, Any]:
    """Times an update of known weights and one that scores its edges."""
    rows, _ = make_rows(num_rows, dim, seed)
    neighbors = _random_neighbors(num_rows, k, seed)
    weights = jnp.ones((num_rows, k), jnp.float32)
    moved = (k + 2) * rows.nbytes
    result: dict[str, Any] = {"bytes": moved, "copied": ceilings.copy_rate()}
    for name, given in (("fixed", weights), ("scored", None)):
        call = functools.partial(
            gfa.aggregate,
            rows,
            neighbors,
            _PARAMS,
            num_steps=1,
            weights=given,
            options=gfa.PAPER,
        )
        timing.seconds(call)
        seconds = min(timing.seconds(call) for _ in range(3))
        result |= {
            f"{name}_seconds": seconds,
            f"{name}_share_of_copy": moved / seconds / result["copied"],
        }
    return result


def gradient(num_rows: int, *, dim: int, k: int, seed: int) -> dict[str, Any]:
    """Times five soft updates forward, and their gradient."""
    rows, _ = make_rows(num_rows, dim, seed)
    neighbors = _random_neighbors(num_rows, k, seed)
    loss = functools.partial(stages.soft_loss, num_steps=5)
    params = _PARAMS._replace(temperature=stages.TEMPERATURE)
    result = {}
    for name, function in (
        ("forward", jax.jit(loss)),
        ("gradient", jax.jit(jax.grad(loss, argnums=(0, 1)))),
    ):
        call = functools.partial(function, rows, params, neighbors)
        timing.seconds(call)
        result[f"{name}_seconds"] = min(timing.seconds(call) for _ in range(3))
    return result


def _random_neighbors(num_rows: int, k: int, seed: int) -> gfa.Neighbors:
    """Draws K candidates a row: their places in memory are as far apart as found."""
    key = jax.random.key(seed)
    indices = jax.random.randint(key, (num_rows, k), 0, num_rows, jnp.int32)
    indices = indices.at[:, 0].set(jnp.arange(num_rows, dtype=jnp.int32))
    return gfa.Neighbors(indices, jnp.zeros((num_rows, k)))


def all_pairs(num_rows: int, *, dim: int, k: int, seed: int) -> dict[str, Any]:
    """Times the ROC of all pairs beside its products."""
    del k
    rows, labels = make_rows(num_rows, dim, seed)
    host = np.asarray(rows)
    metrics.all_pairs_roc(host[:20_000], labels[:20_000])
    seconds = timing.seconds(lambda: metrics.all_pairs_roc(host, labels).roc)
    products = num_rows**2 * dim / ceilings.product_rate(dim)
    return {"seconds": seconds, "times_its_products": seconds / products}


def whole_job(num_rows: int, *, dim: int, k: int, seed: int) -> dict[str, Any]:
    """Times `gfa refine` from a .npy to a .npy, started once to compile, then again."""
    del k
    environment = {x: y for x, y in os.environ.items() if x != "JAX_PLATFORMS"}
    environment.pop("XLA_PYTHON_CLIENT_PREALLOCATE", None)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "rows.npy")
        np.save(path, _host_rows(num_rows, dim, seed))
        result: dict[str, Any] = {}
        for name in ("first", "again"):
            out = pathlib.Path(folder, name)
            command = [sys.executable, "-m", "gfa_jax", "refine", "--noplots"]
            command += [f"--features={path}", f"--output_dir={out}"]
            start = time.perf_counter()
            subprocess.run(command, env=environment, check=True, capture_output=True)
            result[f"{name}_seconds"] = time.perf_counter() - start
            report = json.loads((out / "report.json").read_text())
            result[f"{name}_stages"] = report["seconds"]
    return result


def _host_rows(num_rows: int, dim: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    num_groups = max(2, num_rows // _ROWS_PER_GROUP)
    centers = random.standard_normal((num_groups, dim), np.float32)
    rows = np.empty((num_rows, dim), np.float32)
    for start in range(0, num_rows, _MADE):
        part = rows[start : start + _MADE]
        random.standard_normal(dtype=np.float32, out=part)
        part *= (1 - _COSINE) ** 0.5
        part += _COSINE**0.5 * centers[random.integers(num_groups, size=len(part))]
    return rows


def profile(num_rows: int, *, dim: int, k: int, seed: int) -> dict[str, Any]:
    """Traces four blocks of the search; the operations that took the longest."""
    rows, _ = make_rows(num_rows, dim, seed)
    plan = filtered.make_plan(num_rows, k - 1)
    rounded = filtered.round_rows(rows, plan=plan)
    size = min(2048, num_rows)

    def blocks() -> Any:
        return [
            filtered.search_block(rows, rounded, 0, k=k - 1, plan=plan, block_size=size)
            for _ in range(4)
        ]

    jax.block_until_ready(blocks())
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, create_perfetto_trace=True):
            jax.block_until_ready(blocks())
        (trace,) = pathlib.Path(folder).rglob("perfetto_trace.json.gz")
        return {
            "milliseconds": _longest(json.loads(gzip.decompress(trace.read_bytes())))
        }


def _longest(trace: Any) -> dict[str, float]:
    """Adds up a trace's operations by name; the twenty longest, in milliseconds."""
    events = trace["traceEvents"] if isinstance(trace, dict) else trace
    on_card = {
        event["pid"]
        for event in events
        if event.get("name") == "process_name" and "GPU" in event["args"]["name"]
    }
    totals: collections.Counter[str] = collections.Counter()
    for event in events:
        is_operation = event.get("ph") == "X" and "hlo_op" in event.get("args", {})
        if is_operation and (not on_card or event["pid"] in on_card):
            totals[event["name"]] += event["dur"] / 1e3
    return dict(totals.most_common(20))


def peak_bytes() -> int | None:
    """Reads the most memory that the device held, where it tells."""
    stats = jax.local_devices()[0].memory_stats()
    return None if stats is None else stats.get("peak_bytes_in_use")
