"""The search that filters by half-precision products, against float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import datasets
from gfa_jax.neighbors import filtered


def _normalized(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _groups(num_rows: int, dim: int = 32) -> np.ndarray:
    """Makes rows of identities of ten, side by side as files often have them."""
    rows = datasets.synthetic_features(num_rows=num_rows, dim=dim, seed=1)
    return rows.features[np.argsort(rows.labels, kind="stable")]


def _copies(num_rows: int) -> np.ndarray:
    rows = _groups(num_rows)
    rows[: num_rows // 4] = rows[0]
    return rows


def _negative(num_rows: int) -> np.ndarray:
    """Makes rows whose products are below 0, which padding is not."""
    return -np.abs(_groups(num_rows)) * np.resize([1.0, -1.0], (num_rows, 1))


def _close(num_rows: int) -> np.ndarray:
    """Makes rows whose cosines differ by less than float16 tells."""
    rows = np.random.default_rng(0).normal(size=(num_rows, 16))
    return _normalized(1 + 1e-3 * rows).astype(np.float32)


def _assert_exact(features: np.ndarray, best, k: int) -> None:
    """Compares with the sorted float64 products, where they are no ties."""
    products = features.astype(np.float64) @ features.T.astype(np.float64)
    np.fill_diagonal(products, -np.inf)
    expected = -np.sort(-products, axis=1)[:, :k]
    indices = np.asarray(best.indices).T
    assert (np.sort(indices, axis=1)[:, 1:] > np.sort(indices, axis=1)[:, :-1]).all()
    found = np.take_along_axis(products, indices, axis=1)
    # Ids equal those of float64 but for ties within 1e-6, a few float32 roundings.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        np.asarray(best.similarity).T, expected, rtol=0, atol=1e-6
    )


# The rows searched again: none; the hundred copies and few others; none; most.
@pytest.mark.parametrize(
    ("make", "least", "most"),
    [(_groups, 0, 0), (_copies, 100, 150), (_negative, 0, 0), (_close, 200, 400)],
)
def test_lists_equal_float64(make, least, most):
    features = make(400).astype(np.float32)
    best, again = filtered.search_others(jnp.asarray(features), k=15, block_size=128)
    _assert_exact(features, best, 15)
    assert least <= again <= most


def test_folds_in_several_passes_and_twice(monkeypatch):
    # Small groups of many columns: what a pool of millions does.
    for name, value in {
        "_GROUPS": 64,
        "_MOST_FOLDED": 4,
        "_LATER_GROUPS": 16,
    }.items():
        monkeypatch.setattr(filtered, name, value)
    features = _groups(1500)
    plan = filtered.make_plan(1500, 8)
    assert plan.passes == 6
    assert plan.folded == 4
    best, again = filtered.search_others(jnp.asarray(features), k=8, block_size=256)
    _assert_exact(features, best, 8)
    assert 0 < again < 1500  # few groups, in which the nearest are in each other's way


def test_a_bound_holds_for_every_product():
    features = jnp.asarray(_groups(500))
    plan = filtered.make_plan(500, 15)
    rounded = filtered.round_rows(features, plan=plan)
    half = np.asarray(rounded.features[:500], np.float64)
    exact = np.asarray(features, np.float64)
    difference = np.abs(half @ half.T - exact @ exact.T)
    assert (difference <= np.asarray(rounded.error)[:, None]).all()
    assert np.asarray(rounded.error).max() < 1e-3


def test_keys_order_as_their_numbers():
    numbers = np.array(
        [-65504, -1, -6e-8, -0.0, 0, 6e-8, 0.5, 0.5005, 1, 65504], np.float16
    )
    keys = np.asarray(filtered._ordered(jnp.asarray(numbers)))
    assert (np.diff(keys) > 0).all()
    products = np.asarray(filtered._product(jnp.asarray(keys) << 16))
    np.testing.assert_array_equal(products, numbers.astype(np.float32))


def test_halves_a_block_without_memory(monkeypatch):
    real = filtered.search_block

    def short_of_memory(*arguments, block_size, **options):
        if block_size > 64:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return real(*arguments, block_size=block_size, **options)

    monkeypatch.setattr(filtered, "search_block", short_of_memory)
    features = _groups(300)
    with pytest.warns(RuntimeWarning, match="going on with 64"):
        best, _ = filtered.search_others(jnp.asarray(features), k=5, block_size=128)
    _assert_exact(features, best, 5)


def test_an_accelerator_takes_it(monkeypatch):
    monkeypatch.setattr(filtered, "FEWEST_ROWS", 100)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    features = jnp.asarray(_groups(200))
    assert filtered.pays(features, 15)
    assert not filtered.pays(features, 129)
    assert not filtered.pays(features * 1e3, 15)
    assert not filtered.pays(features.at[3, 3].set(jnp.nan), 15)


def test_exact_neighbors_by_it_is_the_same(monkeypatch):
    features = _groups(300)
    expected = gfa.exact_neighbors(features, k=16)
    monkeypatch.setattr(filtered, "pays", lambda features, k: True)
    found = gfa.exact_neighbors(features, k=16)
    np.testing.assert_array_equal(found.indices[:, 0], np.arange(300))
    np.testing.assert_allclose(found.similarity, expected.similarity, atol=1e-6)
    _assert_exact(
        features,
        found._replace(
            indices=found.indices[:, 1:].T, similarity=found.similarity[:, 1:].T
        ),
        15,
    )


def test_operations_and_bytes_of_a_block():
    """The compiled program multiplies every pair once, and little else."""
    features = jnp.asarray(_groups(4096, 64))
    plan = filtered.make_plan(4096, 15)
    rounded = filtered.round_rows(features, plan=plan)
    compiled = filtered.search_block.lower(
        features, rounded, 0, k=15, plan=plan, block_size=256
    ).compile()
    costs, memory = compiled.cost_analysis(), compiled.memory_analysis()
    assert costs is not None
    assert memory is not None
    products = 2 * 256 * plan.columns * 64
    survivors = 2 * 256 * plan.survivors * 64
    # The folding compares and shifts each product some tens of times.
    assert products + survivors <= costs["flops"] <= products + 100 * 256 * plan.columns
    # Products in float32 on a CPU, in float16 elsewhere; two best, and what fell out.
    assert memory.temp_size_in_bytes <= 256 * plan.columns * 4 + 256 * (
        4 * 3 * plan.groups + 200 * 64 * 4
    )
