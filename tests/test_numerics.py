"""The numerical habits: full precision, and gradients that stay finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import numerics
from tests.conftest import X64
from tests.problems import TOLERANCE, as_neighbors, clustered_features

FLOAT = jnp.float64 if X64 else jnp.float32


def products(function, *operands) -> list[str]:
    """The products of a function as the compiler gets them."""
    lowered = jax.jit(function).lower(*operands).as_text()
    return [line for line in lowered.splitlines() if "dot_general" in line]


def all_highest(lines: list[str]) -> bool:
    return all("precision = [HIGHEST, HIGHEST]" in line for line in lines)


# --- dot --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subscripts", "left", "right"),
    [
        ("id,jd->ij", (4, 3), (5, 3)),
        ("nd,nd->n", (4, 3), (4, 3)),
        ("...d,...kd->...k", (2, 3), (2, 5, 3)),
        ("...k,...kd->...d", (2, 5), (2, 5, 3)),
    ],
)
def test_dot_contracts_at_full_precision(rng, subscripts, left, right):
    a, b = rng.standard_normal(left), rng.standard_normal(right)
    np.testing.assert_allclose(
        numerics.dot(subscripts, jnp.asarray(a), jnp.asarray(b)),
        np.einsum(subscripts, a, b),
        rtol=0,
        atol=TOLERANCE,
    )
    lines = products(lambda a, b: numerics.dot(subscripts, a, b), a, b)
    assert len(lines) == 1
    assert all_highest(lines)


@pytest.mark.parametrize("graph", ["fixed", "rescore"])
def test_no_product_of_an_update_or_its_gradient_falls_behind(graph):
    features = jnp.ones((40, 4), jnp.float32)
    neighbors = as_neighbors(np.zeros((40, 3), int))

    def loss(features, threshold):
        params = gfa.Params(0.5, threshold)
        result = gfa.aggregate(
            features,
            neighbors,
            params,
            num_steps=2,
            options=gfa.Options(mask="soft", graph=graph),
        )
        return jnp.sum(result.features)

    for function in (loss, jax.grad(loss, argnums=(0, 1))):
        lines = products(function, features, 0.5)
        assert lines
        assert all_highest(lines)


# --- dtypes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "computed"),
    [
        (jnp.float16, jnp.float32),
        (jnp.bfloat16, jnp.float32),
        (jnp.float32, jnp.float32),
        (np.float64, FLOAT),
    ],
)
def test_half_precision_is_widened(given, computed):
    # Written in NumPy, so that float64 is the caller's and not JAX's.
    features = np.array([[0.5, -1.25]]).astype(given)
    widened = numerics.to_compute_dtype(features)
    assert widened.dtype == computed
    np.testing.assert_array_equal(widened, [[0.5, -1.25]])


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, bool, np.complex64])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(ValueError, match=f"are {np.dtype(dtype)}; expected a floating"):
        numerics.to_compute_dtype(np.ones((2, 2), dtype))


# --- safe division and root -------------------------------------------------------


def test_gradient_of_safe_divide():
    def quotient(numerator, denominator, otherwise):
        return numerics.safe_divide(numerator, denominator, otherwise=otherwise)

    slopes = jax.grad(quotient, argnums=(0, 1, 2))
    # d(n/d) = (1/d, −n/d²) where it divides, and `otherwise` alone where not.
    np.testing.assert_allclose(slopes(6.0, 4.0, 9.0), [0.25, -0.375, 0])
    np.testing.assert_array_equal(slopes(6.0, 0.0, 9.0), [0, 0, 1])
    np.testing.assert_array_equal(slopes(0.0, 0.0, 9.0), [0, 0, 1])
    np.testing.assert_array_equal(slopes(6.0, -2.0, 9.0), [0, 0, 1])


def test_safe_sqrt_and_its_gradient():
    x = jnp.array([4.0, 0.0, -1.0])
    np.testing.assert_array_equal(numerics.safe_sqrt(x), [2, 0, 0])
    slope = jax.vmap(jax.grad(numerics.safe_sqrt))(x)
    np.testing.assert_array_equal(slope, [0.25, 0, 0])


# --- normalize --------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 4, 5)])
def test_normalize_gives_unit_rows(rng, shape):
    features = 3 * rng.standard_normal(shape)
    got = numerics.normalize(jnp.asarray(features))
    norm = np.linalg.norm(features, axis=-1, keepdims=True)
    np.testing.assert_allclose(got, features / norm, rtol=0, atol=TOLERANCE)


def test_gradient_of_normalize(rng):
    features = clustered_features(rng, num_rows=3, dim=4) * 2
    features[1] = 0
    jacobian = np.asarray(jax.vmap(jax.jacrev(numerics.normalize))(features))
    assert np.all(np.isfinite(jacobian))
    for row in (0, 2):
        norm = np.linalg.norm(features[row])
        unit = features[row] / norm
        # What lies along f does not change its direction.
        want = (np.eye(4) - np.outer(unit, unit)) / norm
        np.testing.assert_allclose(jacobian[row], want, rtol=0, atol=TOLERANCE)
