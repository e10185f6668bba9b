"""A caller that is done with its features can hand their memory to the result."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gfa_jax as gfa
from tests.problems import clustered_features

PARAMS = gfa.Params(0.5, 0.4)


@pytest.mark.parametrize("graph", ["fixed", "rescore"])
def test_donated_features_hold_the_result(rng, graph):
    features = clustered_features(rng, num_rows=40, dim=6)
    neighbors = gfa.exact_neighbors(features, k=5)

    def refine(features):
        return gfa.aggregate(
            features,
            neighbors,
            PARAMS,
            num_steps=3,
            options=gfa.Options(graph=graph),
        )

    donated = jnp.array(features)
    want = jax.jit(refine)(donated)
    assert not donated.is_deleted()
    got = jax.jit(refine, donate_argnums=0)(donated)
    assert donated.is_deleted()
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(a, b)


def test_donation_saves_one_copy_of_the_features():
    outline = jax.ShapeDtypeStruct((4096, 64), jnp.float32)
    neighbors = gfa.Neighbors(np.zeros((4096, 3), np.int32), np.zeros((4096, 3)))
    refine = functools.partial(
        gfa.aggregate, neighbors=neighbors, params=PARAMS, num_steps=3
    )
    held = []
    for donated in ((), (0,)):
        program = jax.jit(refine, donate_argnums=donated).lower(outline).compile()
        memory = program.memory_analysis()
        assert memory is not None
        held.append(
            memory.argument_size_in_bytes
            + memory.output_size_in_bytes
            + memory.temp_size_in_bytes
            - memory.alias_size_in_bytes
        )
    saved = held[0] - held[1]
    assert saved >= 4096 * 64 * 4
