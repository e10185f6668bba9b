"""Where the rows live: device p of P owns rows pn to (p + 1)n − 1, n = ⌈N/P⌉.

Arrays are cut evenly, so the last device's rows are filled up to n with padding. A
padded row is a zero row with empty slots: it is nobody's neighbour and never moves.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from gfa_jax.types import Array

# `jax.Device` is a name of the compiled part of JAX, which type checkers cannot read.
Device = Any


class Shards(NamedTuple):
    """How N rows are spread over P devices.

    Attributes:
        mesh: the devices.
        axis_name: the axis of the mesh that the rows are spread over.
        num_rows: N, rows that count; padding follows.
    """

    mesh: Mesh
    axis_name: str
    num_rows: int

    @property
    def num_shards(self) -> int:
        """P, the number of shards."""
        return self.mesh.shape[self.axis_name]

    @property
    def size(self) -> int:
        """Rows of a shard, n = ⌈N/P⌉, padding included."""
        return -(-self.num_rows // self.num_shards)

    @property
    def padded_rows(self) -> int:
        """Rows with padding, P n."""
        return self.num_shards * self.size


def map_on_mesh(
    function: Callable, inputs: Any, outputs: Any, *, mesh: Mesh, axis_name: str
) -> Callable:
    """Maps a per-shard function over one axis of a mesh, by shard_map.

    Args:
        function: takes and gives pytrees; uses collectives over the axis.
        inputs: prefix pytree of its arguments: True for rows, which are spread,
            False for what every shard gets whole.
        outputs: prefix pytree of its results: True for rows, False for what is the
            same on every shard.
        mesh: the devices.
        axis_name: the axis.

    Returns:
        The compiled function of whole arrays.
    """

    def specs(are_rows):
        return jax.tree.map(
            lambda rows: PartitionSpec(axis_name) if rows else PartitionSpec(),
            are_rows,
        )

    # What varies over the axis is not tracked: the per-shard functions also run
    # under pmap, which does not track it either.
    return jax.jit(
        jax.shard_map(
            function,
            mesh=mesh,
            in_specs=specs(inputs),
            out_specs=specs(outputs),
            check_vma=False,
        )
    )


def map_on_devices(
    function: Callable, inputs: Any, outputs: Any, *, mesh: Mesh, axis_name: str
) -> Callable:
    """Maps a per-shard function over devices of this host, by pmap.

    Args and result as for `map_on_mesh`.
    """
    devices = list(mesh.devices.flat)
    mapped = jax.pmap(
        function,
        axis_name=axis_name,
        in_axes=jax.tree.map(lambda rows: 0 if rows else None, inputs),
        devices=devices,
    )

    def cut(x):
        return jnp.reshape(x, (len(devices), -1, *x.shape[1:]))

    def join(x):
        return jnp.reshape(x, (-1, *x.shape[2:]))

    def first(x):
        return x[0]

    def whole(*operands):
        results = mapped(*_map_where(inputs, operands, cut, lambda x: x))
        return _map_where(outputs, results, join, first)

    return whole


def _map_where(where: Any, trees: Any, on_true: Callable, on_false: Callable) -> Any:
    """Applies one of two functions to the leaves below each mark of a prefix tree."""
    return jax.tree.map(
        lambda marked, tree: jax.tree.map(on_true if marked else on_false, tree),
        where,
        trees,
    )


def row_mesh(
    num_devices: int | None = None,
    *,
    axis_name: str = "rows",
    per_process: int | None = None,
) -> Mesh:
    """Lays the devices of all processes in a line to spread rows over.

    Args:
        num_devices: how many, in [1, devices there are]; all by default.
        axis_name: name of the only axis.
        per_process: instead, how many of each process, so that every one takes part.

    Returns:
        A mesh of shape [num_devices] with an automatic axis.

    Raises:
        ValueError: more devices asked than there are, or none.
    """
    devices = jax.devices()
    if per_process is not None:
        held: dict[int, list[Device]] = {}
        for device in devices:
            held.setdefault(device.process_index, []).append(device)
        devices = [d for own in held.values() for d in _first_devices(own, per_process)]
    return Mesh(
        np.array(_first_devices(devices, num_devices)),
        (axis_name,),
        axis_types=(AxisType.Auto,),
    )


def pmap_mesh(devices: Sequence[Device] | int | None, *, axis_name: str) -> Mesh:
    """Lays devices of this host in a line.

    Args:
        devices: the devices, or how many; all of this host by default.
        axis_name: name of the only axis.

    Returns:
        A mesh of one automatic axis.

    Raises:
        ValueError: more devices asked than there are, or none.
    """
    if devices is None or isinstance(devices, int):
        devices = _first_devices(jax.local_devices(), devices)
    if not len(devices):
        raise ValueError("devices is empty; expected at least one")
    return Mesh(np.array(devices), (axis_name,), axis_types=(AxisType.Auto,))


def _first_devices(devices: Sequence[Device], count: int | None) -> Sequence[Device]:
    count = len(devices) if count is None else count
    if not 1 <= count <= len(devices):
        raise ValueError(
            f"{count} devices asked; expected 1 to {len(devices)}, which are there"
        )
    return devices[:count]


def make_shards(
    mesh: Mesh, axis_name: str, *, given_rows: int, num_rows: int | None
) -> Shards:
    """Spreads the rows given over the axis, none of it empty.

    Args:
        mesh: the devices.
        axis_name: the axis to spread over.
        given_rows: rows of the array.
        num_rows: those of them that count; the rest is padding. All by default.

    Returns:
        The layout, on a mesh whose axes are all automatic.

    Raises:
        ValueError: an axis that the mesh lacks, zero rows on a device, or a padding
            that is not that of `shard_rows`.
    """
    if axis_name not in mesh.axis_names:
        raise ValueError(
            f"axis_name is {axis_name!r}; expected one of {', '.join(mesh.axis_names)}"
        )
    num_rows = given_rows if num_rows is None else num_rows
    automatic = (AxisType.Auto,) * len(mesh.axis_names)
    mesh = Mesh(mesh.devices, mesh.axis_names, axis_types=automatic)
    shards = Shards(mesh, axis_name, num_rows)
    if num_rows < 1 or shards.size * (shards.num_shards - 1) >= num_rows:
        used = -(-num_rows // max(1, shards.size))
        raise ValueError(
            f"{num_rows} rows over {shards.num_shards} devices leave device {used} "
            f"with zero rows; expected at most {used} devices"
        )
    if given_rows not in (num_rows, shards.padded_rows):
        raise ValueError(
            f"features have {given_rows} rows with num_rows={num_rows}; expected "
            f"{num_rows}, or {shards.padded_rows} with the padding of shard_rows"
        )
    return shards


def shard_rows(
    rows: Array, *, mesh: Mesh, axis_name: str, fill: float | int | bool = 0
) -> jax.Array:
    """Places rows on the devices that own them, padded to equal shares.

    Every process reads only the rows of its own devices, so `rows` may be a memory
    map of a file that no process could hold.

    Args:
        rows: [N, ...] NumPy array, memory map or JAX array; the same in every
            process.
        mesh: the devices.
        axis_name: the axis of the mesh to spread over.
        fill: what the padding holds: 0 for features, -1 for indices, False for
            `valid`.

    Returns:
        [P ⌈N/P⌉, ...] array of the same dtype, spread over the axis. Pass it on with
        `num_rows=N`.

    Raises:
        ValueError: an axis that the mesh lacks, or zero rows on a device.
    """
    shards = make_shards(mesh, axis_name, given_rows=len(rows), num_rows=None)
    return place(rows, shards, fill)


def place(rows: Array, shards: Shards, fill: float | int | bool) -> jax.Array:
    """Pads rows to equal shares and places them; a traced array is only padded."""
    if isinstance(rows, jax.Array):
        padding = shards.padded_rows - len(rows)
        sharding = NamedSharding(shards.mesh, PartitionSpec(shards.axis_name))
        if padding:
            widths = [(0, padding)] + [(0, 0)] * (rows.ndim - 1)
            rows = jnp.pad(rows, widths, constant_values=fill)
        return rows if isinstance(rows, Tracer) else jax.device_put(rows, sharding)

    return place_from(rows, shards, fill, first=0)


def place_from(
    rows: np.ndarray, shards: Shards, fill: float | int | bool, *, first: int
) -> jax.Array:
    """Places rows of which this process has only those that its devices own.

    Args:
        rows: [n, ...] consecutive rows; no others are read.
        shards: the layout.
        fill: what the padding holds.
        first: number of the first of them among all N.

    Returns:
        [P ⌈N/P⌉, ...] array, spread over the axis.
    """

    def read(index):
        start, stop, _ = index[0].indices(shards.padded_rows)
        part = np.asarray(rows[start - first : min(stop, shards.num_rows) - first])
        widths = [(0, stop - start - len(part))] + [(0, 0)] * (part.ndim - 1)
        return np.pad(part, widths, constant_values=fill)

    shape = (shards.padded_rows, *rows.shape[1:])
    sharding = NamedSharding(shards.mesh, PartitionSpec(shards.axis_name))
    return jax.make_array_from_callback(shape, sharding, read)


def without_padding(rows: jax.Array, shards: Shards, given_rows: int) -> jax.Array:
    """Drops the padding that was not given: [P n, ...] -> [given_rows, ...]."""
    return rows if given_rows == shards.padded_rows else rows[:given_rows]
