"""The rows of one process, and collectives of host data.

A process owns the rows of its devices, a run of consecutive ones; it reads and writes
those and no others. Host data that the processes share (options, hashes, edges,
counts) goes through a collective of JAX like everything else.
"""

import functools
from collections.abc import Mapping

import jax
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from gfa_jax.sharding import layout
from gfa_jax.types import Array

_AXIS = "processes"
# Lengths are rounded up, so that few programs are compiled.
_GRAIN = 2**12
_CHUNK = 2**28


def own_rows(*, mesh: Mesh, axis_name: str, num_rows: int) -> range:
    """Numbers the rows that the devices of this process own: consecutive ones among N.

    Args:
        mesh: of all devices.
        axis_name: the axis that the rows are spread over.
        num_rows: N.

    Returns:
        Their numbers.

    Raises:
        ValueError: an axis that the mesh lacks, zero rows on a device, devices of this
            process that do not lie side by side, or none.
    """
    shards = layout.make_shards(mesh, axis_name, given_rows=num_rows, num_rows=None)
    sharding = NamedSharding(shards.mesh, PartitionSpec(axis_name))
    spans = sharding.addressable_devices_indices_map((shards.padded_rows,))
    places = [index[0] for index in spans.values() if index is not None]
    starts = sorted({rows.indices(shards.padded_rows)[0] for rows in places})
    if not starts or starts[-1] - starts[0] != shards.size * (len(starts) - 1):
        raise ValueError(
            f"process {jax.process_index()} has {len(starts)} shards of the mesh that "
            "do not follow each other; expected a mesh as row_mesh makes it"
        )
    return range(starts[0], min(starts[-1] + shards.size, num_rows))


def place_own_rows(
    rows: np.ndarray,
    *,
    mesh: Mesh,
    axis_name: str,
    num_rows: int,
    fill: float | int | bool = 0,
) -> jax.Array:
    """Places the rows that each process read for itself.

    Args:
        rows: [n, ...] rows of this process, those of `own_rows`.
        mesh: the devices.
        axis_name: the axis to spread over.
        num_rows: N.
        fill: what the padding holds; see `shard_rows`.

    Returns:
        [P ⌈N/P⌉, ...] array of the same dtype, spread over the axis. Pass it on with
        `num_rows=N`.
    """
    own = own_rows(mesh=mesh, axis_name=axis_name, num_rows=num_rows)
    if len(rows) != len(own):
        raise ValueError(
            f"got {len(rows)} rows in process {jax.process_index()}; expected the "
            f"{len(own)} that it owns, {own.start} to {own.stop - 1}"
        )
    shards = layout.make_shards(mesh, axis_name, given_rows=num_rows, num_rows=None)
    return layout.place_from(np.asarray(rows), shards, fill, first=own.start)


def take_own_rows(
    array: Array, *, mesh: Mesh, axis_name: str, num_rows: int
) -> np.ndarray:
    """Copies the rows of `own_rows` to the host, [n, ...], without padding.

    The array is [N, ...] or [P ⌈N/P⌉, ...], spread over the axis or whole here.

    Args:
        array: [N, ...] or padded.
        mesh: see `own_rows`.
        axis_name: see `own_rows`.
        num_rows: see `own_rows`.

    Returns:
        [n, ...] on the host.
    """
    own = own_rows(mesh=mesh, axis_name=axis_name, num_rows=num_rows)
    if not isinstance(array, jax.Array) or array.is_fully_addressable:
        return np.asarray(array[own.start : own.stop])
    pieces = {
        shard.index[0].indices(len(array))[0]: shard.data
        for shard in array.addressable_shards
    }
    rows = np.concatenate([np.asarray(pieces[start]) for start in sorted(pieces)])
    return rows[: len(own)]


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
    lengths = _gather(length).view(np.int64)[:, 0]
    texts = [bytearray() for _ in lengths]
    for start in range(0, int(lengths.max()), _CHUNK):
        chunk = np.frombuffer(payload[start : start + _CHUNK], np.uint8)
        longest = min(_CHUNK, int(lengths.max()) - start)
        padding = -(-longest // _GRAIN) * _GRAIN - len(chunk)
        for text, piece in zip(
            texts, _gather(np.pad(chunk, (0, padding))), strict=True
        ):
            text += piece.data
    return [bytes(text[:length]) for text, length in zip(texts, lengths, strict=True)]


def gather_arrays(arrays: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """All-gathers arrays by name: the same names and dtypes everywhere, any length.

    Returns the arrays of all processes, by process, bit for bit (float64 and int64
    too).

    Args:
        arrays: of this process, by name.

    Returns:
        By process, its arrays by name.
    """
    gathered = [{} for _ in range(jax.process_count())]
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        shape = np.array(array.shape, np.int64).tobytes()
        shapes = gather_bytes(shape)
        for process, content in enumerate(gather_bytes(array.tobytes())):
            lengths = tuple(np.frombuffer(shapes[process], np.int64).tolist())
            values = np.frombuffer(content, array.dtype).reshape(lengths)
            gathered[process][name] = values
    return gathered


def collective_errors(error: str | None) -> None:
    """Fails in every process where it failed in one, or passes where `error` is None.

    Without this the others would wait in the next collective for one that is gone. The
    first error of any process is raised, and the process named unless all have the
    same.

    Args:
        error: of this process, if any.
    """
    errors = [text.decode() for text in gather_bytes((error or "").encode())]
    if errors[0] and len(set(errors)) == 1:
        raise ValueError(errors[0])
    for process, text in enumerate(errors):
        if text:
            raise ValueError(f"process {process}: {text}")


def exchange_blocks(blocks: np.ndarray) -> np.ndarray:
    """Hands block q of every process, of [P, ...], to process q: [P, ...] by sender."""
    if jax.process_count() == 1:
        return blocks
    mesh = _process_mesh()
    spread = NamedSharding(mesh, PartitionSpec(_AXIS))
    whole = jax.make_array_from_process_local_data(spread, blocks)
    return np.asarray(_all_to_all(mesh)(whole).addressable_data(0))


def gather_blocks(block: np.ndarray) -> np.ndarray:
    """Hands the block of every process to all: [...] -> [P, ...]."""
    return block[None] if jax.process_count() == 1 else _gather(block)


@functools.cache
def _process_mesh() -> Mesh:
    """Lays one device of each process in a line."""
    first: dict[int, layout.Device] = {}
    for device in jax.devices():
        first.setdefault(device.process_index, device)
    devices = np.array([first[process] for process in sorted(first)])
    return Mesh(devices, (_AXIS,), axis_types=(AxisType.Auto,))


@functools.cache
def _all_to_all(mesh: Mesh):
    def swap(blocks):
        return lax.all_to_all(blocks, _AXIS, split_axis=0, concat_axis=0, tiled=True)

    spec = PartitionSpec(_AXIS)
    return jax.jit(jax.shard_map(swap, mesh=mesh, in_specs=spec, out_specs=spec))


@functools.cache
def _replicate(mesh: Mesh):
    return jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, PartitionSpec()))


def _gather(array: np.ndarray) -> np.ndarray:
    mesh = _process_mesh()
    spread = NamedSharding(mesh, PartitionSpec(_AXIS))
    whole = jax.make_array_from_process_local_data(spread, array[None])
    return np.asarray(_replicate(mesh)(whole).addressable_data(0))
