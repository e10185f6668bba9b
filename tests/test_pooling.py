import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from gfa_jax import pooling, streaming
from gfa_jax.pooling import pool, pool_media
from tests.conftest import X64
from tests.problems import TOLERANCE, recorded, refused

DTYPE = np.float64 if X64 else np.float32
needs_x64 = pytest.mark.skipif(not X64, reason="differences need float64")


def unit(rows):
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.where(norms > 0, rows / np.where(norms > 0, norms, 1), 0)


def brute_force(features, segments, num_segments, method, power, weights, normalize):
    """The equations of the module, template by template and row by row."""
    features = features.astype(np.float64)
    weights = np.ones(len(features)) if weights is None else weights
    templates = np.zeros((num_segments, features.shape[1]))
    for s in range(num_segments):
        total = 0.0
        for i in np.flatnonzero(segments == s):
            row, norm = features[i], np.linalg.norm(features[i])
            if method == "norm_power":
                row = norm**power * row / norm if norm > 0 else 0 * row
            templates[s] += weights[i] * row
            total += weights[i]
        if method == "mean":
            templates[s] /= total
    return unit(templates) if normalize else templates


def problem(seed, *, num_rows=23, num_segments=6, dim=4, zero_rows=True):
    rng = np.random.default_rng(seed)
    segments = np.concatenate(
        [
            np.arange(num_segments),
            rng.integers(num_segments, size=num_rows - num_segments),
        ]
    )
    rng.shuffle(segments)
    # Norms over two orders of magnitude, as raw embeddings have, and directions with
    # something in common: rows that cancel would leave only their rounding.
    directions = unit(2 + rng.standard_normal((num_rows, dim)))
    features = directions * rng.uniform(0.5, 50, (num_rows, 1))
    if zero_rows:
        features[rng.integers(num_rows, size=2)] = 0
    weights = rng.uniform(0.1, 1, num_rows)
    return features.astype(DTYPE), segments, weights.astype(DTYPE)


def assert_close(got, want):
    # Relative to the largest value: a sum of terms of both signs keeps that scale.
    np.testing.assert_allclose(
        got, want, rtol=TOLERANCE, atol=TOLERANCE * np.abs(want).max()
    )


# Few shapes, since every new one is compiled.
@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.sampled_from([(1, 1), (6, 23)]),
    method=st.sampled_from(pooling.METHODS),
    power=st.sampled_from([0.0, 0.5, 1.0, 3.6]),
    weighted=st.booleans(),
    normalize=st.booleans(),
    block_size=st.sampled_from([10, 50]),
)
def test_equals_brute_force(
    seed, sizes, method, power, weighted, normalize, block_size
):
    num_segments, num_rows = sizes
    features, segments, weights = problem(
        seed, num_rows=num_rows, num_segments=num_segments
    )
    options = {
        "num_segments": num_segments,
        "method": method,
        "power": power,
        "weights": weights if weighted else None,
        "normalize": normalize,
    }
    want = brute_force(features, segments, **options)
    got = np.asarray(pool(features, segments, **options))
    streamed = streaming.pool(features, segments, **options, block_size=block_size)
    assert got.dtype == streamed.dtype == DTYPE
    assert_close(got, want)
    assert_close(streamed, want)


def test_a_large_power_takes_the_longest_row():
    features, segments, _ = problem(2, zero_rows=False)
    got = pool(features, segments, num_segments=6, method="norm_power", power=400.0)
    norms = np.linalg.norm(features, axis=1)
    for s in range(6):
        longest = max(np.flatnonzero(segments == s), key=lambda i: norms[i])
        assert float(got[s] @ unit(features[longest])) > 0.9999


@pytest.mark.parametrize("factor", [1e-12, 1e12])
def test_the_scale_of_the_features_does_not_matter(factor):
    features, segments, _ = problem(3)
    options = {"num_segments": 6, "method": "norm_power"}
    assert_close(
        pool(DTYPE(factor) * features, segments, **options),
        pool(features, segments, **options),
    )


def test_a_template_whose_rows_cancel_stays_zero():
    features = np.array([[1, 2], [-1, -2], [3, 4]], DTYPE)
    for method in pooling.METHODS:
        got = pool(features, np.array([0, 0, 1]), num_segments=2, method=method)
        np.testing.assert_array_equal(got[0], [0, 0])
        assert_close(got[1], [0.6, 0.8])


@needs_x64
@pytest.mark.parametrize("method", pooling.METHODS)
@pytest.mark.parametrize("normalize", [True, False])
def test_gradients_equal_differences(method, normalize):
    features, segments, weights = problem(4)
    features /= 10  # keeps the unnormalised powers, and so the differences, moderate
    target = np.random.default_rng(5).standard_normal((6, 4))

    def value(features, weights, power):
        templates = pool(
            features,
            segments,
            num_segments=6,
            method=method,
            power=power,
            weights=weights,
            normalize=normalize,
        )
        return jnp.vdot(templates, target)

    # The norm of a zero row rises like |x|, its 3.6th power like x^3.6: smooth.
    check_grads(value, (features, weights, 3.6), order=1, modes=["rev"], rtol=1e-5)


def test_gradients_are_finite_at_zero_rows():
    features = np.zeros((4, 3), DTYPE)
    features[3] = [1, 2, 2]
    segments = np.array([0, 0, 1, 1])

    def value(features, power):
        return pool(
            features, segments, num_segments=2, method="norm_power", power=power
        ).sum()

    for power in (0.0, 0.5, 1.0, 3.6):
        rows, exponent = jax.grad(value, argnums=(0, 1))(jnp.asarray(features), power)
        assert np.isfinite(rows).all()
        assert np.isfinite(exponent)
        np.testing.assert_array_equal(rows[:3], 0)


@pytest.mark.parametrize("method", pooling.METHODS)
def test_jit_with_everything_traced(method):
    features, segments, weights = problem(6)
    options = {"num_segments": 6, "method": method}
    jitted = jax.jit(pool, static_argnames=("num_segments", "method"))
    assert_close(
        jitted(features, segments, power=2.0, weights=weights, **options),
        pool(features, segments, power=2.0, weights=weights, **options),
    )
    powers = jnp.array([0.5, 3.6])
    many = jax.vmap(lambda p: pool(features, segments, power=p, **options))(powers)
    for got, power in zip(many, powers, strict=True):
        assert_close(got, pool(features, segments, power=power, **options))


@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16])
def test_half_precision_is_pooled_in_float32(dtype):
    features, segments, _ = problem(7)
    features = features.astype(dtype)
    want = pool(features.astype(np.float32), segments, num_segments=6)
    for function in (pool, streaming.pool):
        got = function(features, segments, num_segments=6)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def ijb_11(features, flipped, scores, templates, media):
    """Loops over templates and media as insightface's evaluation describes itself."""
    images = (features.astype(np.float64) + flipped) * scores[:, None]
    pooled = []
    for template in np.unique(templates):
        rows = np.flatnonzero(templates == template)
        means = [
            images[rows[media[rows] == medium]].mean(axis=0)
            for medium in np.unique(media[rows])
        ]
        pooled.append(np.sum(means, axis=0))
    return unit(np.array(pooled))


@pytest.mark.parametrize("num_media", [1, 2, 9])
def test_media_equals_insightface(rng, num_media):
    features, templates, scores = problem(15, num_rows=30, zero_rows=False)
    media = rng.integers(num_media, size=30) * 1_000_003
    flipped = (features + rng.standard_normal(features.shape)).astype(DTYPE)
    got = pool_media(
        features, templates, media, num_templates=6, flipped=flipped, scores=scores
    )
    want = ijb_11(features, flipped, scores, templates, media)
    assert_close(got, want)


@needs_x64
def test_media_gradients_equal_differences():
    features, templates, scores = problem(9)
    media = np.arange(23) % 4

    def value(features, flipped, scores):
        pooled = pool_media(
            features, templates, media, num_templates=6, flipped=flipped, scores=scores
        )
        return jnp.sin(pooled).sum()

    check_grads(
        value, (features, features[::-1], scores), order=1, modes=["rev"], rtol=1e-5
    )


def test_a_memory_map_is_streamed_with_progress(tmp_path):
    features, segments, weights = problem(10, num_rows=200, num_segments=40)
    np.save(tmp_path / "frames.npy", features)
    mapped = np.load(tmp_path / "frames.npy", mmap_mode="r")
    options = {"num_segments": 40, "method": "norm_power", "weights": weights}
    calls, progress = recorded()
    got = streaming.pool(
        mapped, np.sort(segments), **options, block_size=17, progress=progress
    )
    assert calls == [(12, "pooling")]
    assert_close(got, pool(features, np.sort(segments), **options))
    with pytest.raises(ValueError, match="block_size is 0"):
        streaming.pool(features, segments, num_segments=40, block_size=0)


@pytest.mark.parametrize("function", [pool, streaming.pool])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_segments": 4}, r"2 of 4 templates have no row .*: templates 2, 3 \("),
        ({"num_segments": 100}, r"98 of 100 .* templates 2, 3, 4, 5, 6, … \("),
        ({"weights": np.array([0.0, 1.0, 1.0])}, "1 of 2 .* templates 0 "),
        ({"num_segments": 1}, "run from 0 to 1; expected 0 to 0"),
        ({"segments": np.array([0, -1, 0])}, "run from -1 to 0"),
        ({"segments": np.zeros(3)}, "dtype float64; .*integers"),
        ({"segments": np.zeros(2, int)}, r"shape \(2,\) .*\[3\]"),
        ({"num_segments": 0}, "num_segments is 0"),
        ({"weights": np.array([1.0, -1.0, 1.0])}, "row 1 has -1.0"),
        ({"weights": np.array([1.0, 1.0, np.nan])}, "row 2 has nan"),
        ({"weights": np.array([1.0, 1.0, np.inf])}, "row 2 has inf"),
        ({"weights": np.ones(2)}, r"weights have shape \(2,\)"),
        ({"features": np.ones((3, 2), np.int32)}, "int32; expected a floating"),
        ({"features": np.ones(3)}, r"shape \(3,\); expected \[N, D\]"),
        ({"features": np.ones((0, 2)), "segments": np.zeros(0, int)}, r"shape \(0, 2"),
        ({"method": "median"}, "'median'; expected one of mean, sum, norm_power"),
        ({"power": -1.0}, "power is -1"),
        ({"power": np.nan}, "power is nan"),
        ({"power": np.inf}, "power is inf"),
    ],
)
def test_bad_input_is_refused(function, change, message):
    options = {
        "features": np.ones((3, 2), np.float32),
        "segments": np.array([0, 1, 1]),
        "num_segments": 2,
    } | change
    refused(message, function, **options)


def test_media_of_other_shapes():
    features, templates, _ = problem(14)
    media = np.zeros(23, int)
    with pytest.raises(ValueError, match=r"flipped has shape \(2, 4\); .*\(23, 4\)"):
        pool_media(features, templates, media, num_templates=6, flipped=features[:2])
    with pytest.raises(ValueError, match=r"shape \(5,\)"):
        pool_media(features, templates, media[:5], num_templates=6)
    with pytest.raises(ValueError, match=r"1 of 7 templates .* 6 "):
        pool_media(features, templates, media, num_templates=7)
    with pytest.raises(ValueError, match="run from -1 to 5"):
        pool_media(
            features, np.where(templates == 3, -1, templates), media, num_templates=6
        )
