"""A sum over all shards, one arriving after the other: Σ_s f(block_s, operands).

Every device passes the block that it holds to the next one and adds what the block
contributes, so after P − 1 hops each has met all P blocks and none has held more
than two. Differentiated as it stands, the loop would keep every block that passed,
the whole pool on each device. The backward pass therefore sends the blocks round
once more, each with the cotangent that it gathers on its way home.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def rotate(tree: Any, *, axis_name: str, hops: int = 1) -> Any:
    """Hands every leaf to the device `hops` further on, and the last to the first."""
    count = lax.axis_size(axis_name)
    pairs = [(p, (p + hops) % count) for p in range(count)]
    return jax.tree.map(lambda x: lax.ppermute(x, axis_name, pairs), tree)


def owner(hops: jax.Array | int, *, axis_name: str) -> jax.Array:
    """Names the device that a block came from, so many hops ago."""
    return (lax.axis_index(axis_name) - hops) % lax.axis_size(axis_name)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 4))
def ring_sum(
    contribution: Callable, block: Any, operands: Any, constants: Any, axis_name: str
) -> Any:
    """Adds up what the blocks of all shards contribute here.

    Differentiable in reverse mode in `block` and `operands`.

    `contribution` takes (block, operands, constants, shard), `shard` the number of the
    one that the block came from, gives a pytree of floating arrays and closes over no
    traced value. The block goes round, operands and constants stay here; all are
    pytrees of arrays, floating but for the constants.

    Cost: P contributions and P − 1 blocks over the link to the next device; three
    blocks in memory. Backwards the same again, with twice the bytes.
    """
    name = axis_name

    def contribute(hops, block):
        return contribution(block, operands, constants, owner(hops, axis_name=name))

    def hop(hops, carry):
        block, total = carry
        # Independent of each other: the next block can travel during the work.
        arriving = rotate(block, axis_name=name)
        return arriving, _add(total, contribute(hops, block))

    last = lax.axis_size(name) - 1
    block, total = lax.fori_loop(
        0, last, hop, (block, _zeros(jax.eval_shape(contribute, 0, block)))
    )
    return _add(total, contribute(last, block))


def _forward(contribution, block, operands, constants, axis_name):
    total = ring_sum(contribution, block, operands, constants, axis_name)
    return total, (block, operands, constants)


def _backward(contribution, axis_name, saved, cotangent):
    block, operands, constants = saved

    def hop(hops, carry):
        block, block_cotangent, operands_cotangent = carry
        shard = owner(hops, axis_name=axis_name)
        _, pull = jax.vjp(
            lambda b, o: contribution(b, o, constants, shard), block, operands
        )
        to_block, to_operands = pull(cotangent)
        block, block_cotangent = rotate(
            (block, _add(block_cotangent, to_block)), axis_name=axis_name
        )
        return block, block_cotangent, _add(operands_cotangent, to_operands)

    start = (block, _zeros(block), _zeros(operands))
    _, *cotangents = lax.fori_loop(0, lax.axis_size(axis_name), hop, start)
    return *cotangents, None


ring_sum.defvjp(_forward, _backward)


def _zeros(tree: Any) -> Any:
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), tree)


def _add(left: Any, right: Any) -> Any:
    return jax.tree.map(jnp.add, left, right)
