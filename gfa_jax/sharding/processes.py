"""Collectives of host data between processes: options, hashes, edges, counts."""

import functools
import io
import itertools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import jax
import numpy as np
from jax import lax
from jax._src import distributed  # pyright: ignore[reportPrivateImportUsage]
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gfa_jax.sharding import layout
from gfa_jax.types import Array

T = TypeVar("T")

_AXIS = "processes"
_meetings = itertools.count()
_LONGEST_MS = 2**31 - 1  # 25 days
# Lengths are rounded up, so that few programs are compiled.
_GRAIN = 2**12
_CHUNK = 2**28


def gather_bytes(payload: bytes) -> list[bytes]:
    """All-gathers bytes of any length, other ones in each process, on the host.

    Every process of `jax.distributed` calls this at the same point. One collective for
    the lengths and one for each 256 MiB; in memory, twice P times the longest payload.

    Args:
        payload: of this process.

    Returns:
        The payloads, by process.
    """
    if jax.process_count() == 1:
        return [payload]
    # As bytes: without x64 JAX would cut an integer of 64 bits.
    length = np.frombuffer(np.int64(len(payload)).tobytes(), np.uint8)
    lengths = gather_blocks(length).view(np.int64)[:, 0]
    texts = [bytearray() for _ in lengths]
    for start in range(0, int(lengths.max()), _CHUNK):
        chunk = np.frombuffer(payload[start : start + _CHUNK], np.uint8)
        longest = min(_CHUNK, int(lengths.max()) - start)
        padding = -(-longest // _GRAIN) * _GRAIN - len(chunk)
        for text, piece in zip(
            texts, gather_blocks(np.pad(chunk, (0, padding))), strict=True
        ):
            text += piece.data
    return [bytes(text[:length]) for text, length in zip(texts, lengths, strict=True)]


def gather_arrays(arrays: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """All-gathers arrays by name, others in each process, bit for bit.

    Args:
        arrays: name -> array, of NumPy's own dtypes.

    Returns:
        Those of each process, by process.
    """
    if jax.process_count() == 1:
        return [{name: np.asarray(array) for name, array in arrays.items()}]
    buffer, named = io.BytesIO(), dict[str, Any](arrays)
    np.savez(buffer, **named)
    gathered = gather_bytes(buffer.getvalue())
    del buffer
    return [dict(np.load(io.BytesIO(own), allow_pickle=False)) for own in gathered]


def join_rows(own: np.ndarray) -> Any:
    """Joins values of the rows of all processes: [n, …] to [N, …]."""
    gathered = gather_arrays({"own": np.asarray(own)})
    return np.concatenate([part["own"] for part in gathered])


class CollectiveError(ValueError):
    """An error that every process raises, and none has to tell the others."""


def collective_errors(error: str | None) -> None:
    """Fails in every process where it failed in one, or passes where `error` is None.

    Without this the others would wait in the next collective for one that is gone.

    Args:
        error: of this process; None for none.

    Raises:
        ValueError: the first error of any process, which is named unless all have the
            same.
    """
    _meet()
    errors = [text.decode() for text in gather_bytes((error or "").encode())]
    if errors[0] and len(set(errors)) == 1:
        raise CollectiveError(errors[0])
    for process, text in enumerate(errors):
        if text:
            raise CollectiveError(f"process {process}: {text}")


def _meet() -> None:
    """Waits for all processes as long as it takes; a collective ends after a while."""
    client = distributed.global_state.client
    if client is not None and jax.process_count() > 1:
        client.wait_at_barrier(f"gfa_jax-{next(_meetings)}", _LONGEST_MS)


def check_own(
    where: layout.Layout, check: Callable[..., T], *arrays: Array | None
) -> T:
    """Calls a check of rows; of several processes each with its own, all fail alike.

    Gives what it returns, of all rows or, with several processes, of one's own.
    """
    if jax.process_count() == 1 or any(isinstance(x, Tracer) for x in arrays):
        return check(*arrays)
    found, error = None, None
    try:
        found = check(*(x if x is None else where.take_own(x) for x in arrays))
    except ValueError as raised:
        error = str(raised)
    collective_errors(error)
    return cast(T, found)


def exchange_blocks(blocks: np.ndarray) -> np.ndarray:
    """Hands block q of every process, of [P, ...], to process q: [P, ...] by sender."""
    if jax.process_count() == 1:
        return blocks
    mesh = _process_mesh()
    whole = jax.make_array_from_process_local_data(_spread(mesh), blocks)
    return np.asarray(_all_to_all(mesh)(whole).addressable_data(0))


def gather_blocks(block: np.ndarray) -> np.ndarray:
    """Hands the block of every process to all: [...] -> [P, ...]."""
    if jax.process_count() == 1:
        return block[None]
    mesh = _process_mesh()
    whole = jax.make_array_from_process_local_data(_spread(mesh), block[None])
    return np.asarray(_replicate(mesh)(whole).addressable_data(0))


@functools.cache
def _process_mesh() -> Mesh:
    """Lays one device of each process in a line."""
    first = {device.process_index: device for device in reversed(jax.devices())}
    return layout.line_mesh([first[process] for process in sorted(first)], _AXIS)


def _spread(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(_AXIS))


@functools.cache
def _all_to_all(mesh: Mesh):
    def swap(blocks):
        return lax.all_to_all(blocks, _AXIS, split_axis=0, concat_axis=0, tiled=True)

    spec = PartitionSpec(_AXIS)
    return jax.jit(jax.shard_map(swap, mesh=mesh, in_specs=spec, out_specs=spec))


@functools.cache
def _replicate(mesh: Mesh):
    return jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, PartitionSpec()))
