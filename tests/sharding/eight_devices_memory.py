"""What one of many devices holds. Run by `test_eight_devices.py`, on eight."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import gfa_jax as gfa
from gfa_jax import sharding
from gfa_jax.sharding.exchange import Exchange
from tests.sharding.meshes import mesh, on_mesh

SIZES = {"num_rows": 8192, "dim": 64, "k": 4}
NUM_STEPS = 4


def compiled_bytes(differentiate: bool, exchange: Exchange) -> tuple[int, int]:
    """Bytes a device: of temporaries, and with what goes in and comes out."""
    spread = NamedSharding(mesh(), PartitionSpec("rows"))
    num_rows, dim, k = SIZES.values()
    features = jax.ShapeDtypeStruct((num_rows, dim), jnp.float32, sharding=spread)
    indices = jax.ShapeDtypeStruct((num_rows, k), jnp.int32, sharding=spread)

    def refined(features, indices):
        return on_mesh()(
            features,
            gfa.Neighbors(indices, indices),
            gfa.Params(0.5, 0.4),
            num_steps=NUM_STEPS,
            options=gfa.Options(graph="rescore", block_size=64),
            exchange=exchange,
        ).features

    function = refined
    if differentiate:
        function = jax.grad(lambda *a: jnp.sum(refined(*a) ** 2))
    analysis = jax.jit(function).lower(features, indices).compile().memory_analysis()
    assert analysis is not None
    outside = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    return analysis.temp_size_in_bytes, analysis.temp_size_in_bytes + outside


def test_a_ring_holds_no_pool_on_a_device():
    pool = 8192 * 64 * 4
    ring, gather = compiled_bytes(False, "ring"), compiled_bytes(False, "gather")
    assert ring[0] < pool < gather[0]
    memory = sharding.exchange_memory(**SIZES, num_devices=8)
    # The compiler's choices of what to copy are not the estimate's business.
    np.testing.assert_allclose(ring[1], memory.ring, rtol=0.15)
    np.testing.assert_allclose(gather[1], memory.gather, rtol=0.15)


def test_the_gradient_of_a_ring_holds_no_pool_on_a_device():
    share = 8192 * 64 * 4 / 8
    # Every step keeps its input; the 8 blocks that pass in each are not kept.
    assert compiled_bytes(True, "ring")[0] < (NUM_STEPS + 12) * share
    assert compiled_bytes(True, "gather")[0] > (NUM_STEPS + 16) * share


def test_the_estimate_orders_the_two_forms():
    memory = sharding.exchange_memory(**SIZES, num_devices=8)
    both = 1024 * (3 * 64 * 4 + 4 * 12)
    assert memory == (both + 8192 * 64 * 4, both + 4 * 1024 * 64 * 4)
    assert sharding.choose_exchange(memory) == "gather"
    assert sharding.choose_exchange(memory, memory_limit=memory.gather) == "gather"
    assert sharding.choose_exchange(memory, memory_limit=memory.gather - 1) == "ring"
    # On two devices the ring would hold more than it saves.
    two = sharding.exchange_memory(**SIZES, num_devices=2)
    assert sharding.choose_exchange(two, memory_limit=0) == "gather"
