"""The layer: what `aggregate` says of the same rows, its gradients, and its queue."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import gfa_jax as gfa
from tests.conftest import X64
from tests.problems import TOLERANCE, clustered_features

layers = pytest.importorskip("gfa_jax.layers")
nnx = pytest.importorskip("flax.nnx")

DTYPE = np.float64 if X64 else np.float32
START = gfa.Params(0.6, 0.4, 0.1, 2.5)


def layer(params=START, **options):
    return layers.GraphAggregation(
        params, **{"k": 5, "num_steps": 3, "param_dtype": DTYPE, **options}
    )


@pytest.fixture
def batch(rng):
    rows = clustered_features(rng, num_rows=16, dim=4)
    return jnp.asarray(rows * rng.uniform(0.5, 2, (16, 1)).astype(rows.dtype))


def normalized(rows):
    rows = np.asarray(rows)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def refined(rows, **options):
    itself = options.get("include_self", True)
    neighbors = gfa.exact_neighbors(rows, k=5, include_self=itself)
    return gfa.aggregate(
        rows, neighbors, START, num_steps=3, options=gfa.Options(**options)
    ).features


@pytest.mark.parametrize(
    ("options", "train"),
    [
        ({}, False),
        ({"graph": "rescore", "weighting": "uniform"}, True),
        ({"include_self": False, "renormalize": False}, True),
    ],
)
def test_it_is_aggregate_on_the_batch(batch, options, train):
    mask = "soft" if train else "hard"
    want = refined(normalized(batch), mask=mask, **options)
    got = layer(options=gfa.Options(**options))(batch, train=train)
    np.testing.assert_allclose(got, want, atol=TOLERANCE)


def test_the_parameters_start_where_they_were_put():
    np.testing.assert_allclose(
        np.stack(layer().params(DTYPE)), np.stack(START), rtol=1e-6
    )
    params = nnx.state(layer(queue_size=8, dim=4), nnx.Param)
    assert set(params) == {"gamma", "threshold", "temperature", "exponent"}


@pytest.mark.skipif(not X64, reason="differences need float64")
def test_gradients_reach_the_encoder_and_the_four_parameters(batch, rng):
    class Network(nnx.Module):
        def __init__(self):
            self.encoder = nnx.Linear(4, 3, rngs=nnx.Rngs(0), param_dtype=DTYPE)
            self.aggregation = layer(queue_size=8, dim=3)

        def __call__(self, rows):
            return self.aggregation(self.encoder(rows), train=True)

    network, target = Network(), rng.standard_normal((8, 3))
    # A full queue, of other rows: equal ones would tie, and a step change neighbours.
    network(batch[8:])
    graph, params, rest = nnx.split(network, nnx.Param, ...)

    @jax.jit
    def loss(params):
        return jnp.vdot(nnx.merge(graph, params, rest, copy=True)(batch[:8]), target)

    # The embeddings in the queue are of the old weights, and no step moves them.
    check_grads(loss, (params,), order=1, modes=["rev"], eps=1e-6, rtol=1e-5)
    slopes = jax.tree.leaves(jax.grad(loss)(params))
    assert len(slopes) == 6  # the four, the kernel and the bias
    assert all(np.abs(slope).max() > 1e-6 for slope in slopes)


def test_the_queue_holds_the_last_rows_and_forgets_the_oldest(batch):
    aggregation = layer(k=3, queue_size=8, dim=4)
    rows = jnp.asarray(normalized(batch))
    for start, filled in ((0, 5), (5, 8), (10, 8)):
        aggregation._remember(rows[start : start + 5])
        assert aggregation.filled[...] == filled
        want = rows[start + 5 - filled : start + 5]
        got = aggregation.queue[...]
        np.testing.assert_array_equal(got[8 - filled :], want)
        np.testing.assert_array_equal(got[: 8 - filled], 0)
    aggregation._remember(rows)  # a batch longer than the queue
    np.testing.assert_array_equal(aggregation.queue[...], rows[-8:])


def test_rows_of_the_queue_are_neighbours_and_empty_places_are_not(batch):
    rows = normalized(batch)
    aggregation = layer(queue_size=8, dim=4)
    first = aggregation(batch[:8], train=True)
    np.testing.assert_allclose(first, refined(rows[:8], mask="soft"), atol=TOLERANCE)
    np.testing.assert_allclose(aggregation.queue[...], rows[:8], atol=TOLERANCE)
    second = aggregation(batch[8:], train=True)
    # Its place in the pool does not matter to a row.
    pool = np.concatenate([rows[8:], rows[:8]])
    np.testing.assert_allclose(second, refined(pool, mask="soft")[:8], atol=TOLERANCE)


def test_evaluation_neither_reads_nor_fills_the_queue(batch):
    aggregation = layer(queue_size=8, dim=4)
    aggregation._remember(jnp.asarray(normalized(batch)[::-1]))
    before = np.asarray(aggregation.queue[...])
    got = aggregation(batch, train=False)
    want = refined(normalized(batch), mask="hard")
    np.testing.assert_allclose(got, want, atol=TOLERANCE)
    np.testing.assert_array_equal(aggregation.queue[...], before)
    assert aggregation.filled[...] == 8


def test_it_trains_under_jit(batch, rng):
    aggregation = layer(queue_size=8, dim=4)
    target = normalized(rng.standard_normal(batch.shape).astype(DTYPE))

    @nnx.jit
    def step(aggregation, batch):
        def loss(aggregation):
            return -jnp.mean(aggregation(batch, train=True) * target)

        value, gradient = nnx.value_and_grad(loss)(aggregation)
        params = nnx.state(aggregation, nnx.Param)
        nnx.update(
            aggregation, jax.tree.map(lambda p, g: p - 1.0 * g, params, gradient)
        )
        return value

    losses = [float(step(aggregation, batch)) for _ in range(8)]
    assert aggregation.filled[...] == 8
    # The first batch sees no queue; from then on the pool is the same each time.
    assert losses[-1] < losses[1]
    np.testing.assert_allclose(
        aggregation.queue[...], normalized(batch)[-8:], atol=TOLERANCE
    )


def test_half_precision_and_other_parameter_dtypes_are_computed_in_float32(batch):
    aggregation = layer(param_dtype=jnp.float32, queue_size=8, dim=4)
    assert aggregation(batch.astype(jnp.bfloat16), train=True).dtype == jnp.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k is 0"),
        ({"num_steps": 0}, "num_steps is 0"),
        ({"queue_size": -1}, "queue_size is -1"),
        ({"queue_size": 8}, "queue_size is 8 without dim"),
        ({"params": gfa.Params(1.0, 0.5)}, "got gamma 1.0"),
        ({"params": gfa.Params(0.5, 1.5)}, "threshold is 1.5"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        layer(**options)


@pytest.mark.parametrize(
    ("options", "change", "train", "message"),
    [
        ({"k": 16}, None, True, "k is 16 with 16 rows in the pool"),
        ({"k": 16, "queue_size": 1, "dim": 4}, None, False, "k is 16 with 16 rows in"),
        ({"queue_size": 1, "dim": 4}, np.s_[:, :3], True, "was made with dim=4"),
        ({}, np.s_[:, 0], True, r"shape \(16,\); expected \[N, D\]"),
    ],
)
def test_bad_batches_are_refused(batch, options, change, train, message):
    with pytest.raises(ValueError, match=message):
        layer(**options)(batch if change is None else batch[change], train=train)


def test_without_flax_the_extra_is_named():
    code = (
        "import sys; sys.modules['flax'] = None\n"
        "import gfa_jax\n"
        "try: import gfa_jax.layers\n"
        "except ImportError as error: sys.exit('gfa_jax[train]' not in str(error))\n"
        "sys.exit(2)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
