"""How the shards are exchanged in an update, and what it costs in memory.

Gathered, every device holds the whole pool during an update, N D elements, and its
rows read their K candidates from it. In a ring it holds one arriving block at a time,
N D / P elements, and its rows look for their candidates in each: less memory for the
same bytes over the links. A candidate that is elsewhere is read too, to weigh 0, but
all of those read one row, which stays in cache: a visit costs as much arithmetic as
gathering n K rows and hardly more memory traffic than the block itself, so that it
hides behind the block's transfer.
"""

from typing import Literal, NamedTuple, get_args

import jax

from gfa_jax.sharding.layout import Layout

Exchange = Literal["gather", "ring"]
EXCHANGES: tuple[Exchange, ...] = get_args(Exchange)

# A fixed number, not what a device happens to have free: all processes must come to
# the same choice, or they wait for each other's collectives for ever.
MEMORY_LIMIT = 8 * 2**30


class ExchangeMemory(NamedTuple):
    """Bytes that one device holds during an update, in either form."""

    gather: int
    ring: int


def exchange_memory(
    *, num_rows: int, dim: int, k: int, num_devices: int, itemsize: int = 4
) -> ExchangeMemory:
    """Estimates the memory that one update takes on each device.

    With n = ⌈N/P⌉ rows on each of P devices and E bytes an element, both forms hold
    the rows as given, before and after the update, 3 n D E, and candidates, masks and
    weights, n K (4 + 2 E); then "gather" the pool, N D E, and "ring" the block here and
    the one arriving, and the weighted sums before and after a block is added, 4 n D E.
    The estimate leaves out the block of candidates (see `blocks`); a reverse-mode
    gradient takes about twice as much and n D E a step.

    Args:
        num_rows: N.
        dim: D.
        k: K.
        num_devices: P.
        itemsize: E.

    Returns:
        ExchangeMemory.
    """
    share = -(-num_rows // num_devices)
    rows = share * dim * itemsize
    both = 3 * rows + share * k * (4 + 2 * itemsize)
    return ExchangeMemory(both + num_devices * rows, both + 4 * rows)


def choose_exchange(
    memory: ExchangeMemory, *, memory_limit: int = MEMORY_LIMIT
) -> Exchange:
    """Gathers while that fits, since it reads each candidate once.

    Args:
        memory: see `exchange_memory`.
        memory_limit: bytes for an update on a device, the same in every process.

    Returns:
        "ring" where it takes less and the pool does not fit, otherwise "gather".
    """
    return "gather" if memory.gather <= max(memory_limit, memory.ring) else "ring"


def resolve_exchange(
    exchange: Exchange | None, rows: jax.Array, indices: jax.Array, layout: Layout
) -> Exchange:
    """Takes the form asked for, or chooses by the estimate."""
    if exchange is None:
        memory = exchange_memory(
            num_rows=len(rows),
            dim=rows.shape[1],
            k=indices.shape[1],
            num_devices=layout.num_shards,
            itemsize=rows.dtype.itemsize,
        )
        return choose_exchange(memory)
    if exchange not in EXCHANGES:
        raise ValueError(
            f"exchange is {exchange!r}; expected one of {', '.join(EXCHANGES)}"
        )
    return exchange
