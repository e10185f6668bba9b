"""Where the rows live: device p of P owns rows pn to (p + 1)n − 1, n = ⌈N/P⌉.

Arrays are cut evenly, so the last device's rows are filled up to n with padding. A
padded row is a zero row with empty slots: it is no row's neighbour and never moves.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from gfa_jax.types import Array

# `jax.Device` is a name of the compiled part of JAX, which type checkers cannot read.
Device = Any
AXIS = "rows"


@dataclasses.dataclass(frozen=True)
class Layout:
    """How N rows are spread over P devices, none of them empty.

    The mesh gets automatic axes only; padding follows the N rows that count.
    """

    mesh: Mesh
    axis_name: str
    num_rows: int

    def __post_init__(self):
        names = self.mesh.axis_names
        if self.axis_name not in names:
            raise ValueError(
                f"axis_name is {self.axis_name!r}; expected one of {', '.join(names)}"
            )
        automatic = (AxisType.Auto,) * len(names)
        mesh = Mesh(self.mesh.devices, names, axis_types=automatic)
        object.__setattr__(self, "mesh", mesh)
        if self.num_rows < 1 or self.size * (self.num_shards - 1) >= self.num_rows:
            used = -(-self.num_rows // max(1, self.size))
            raise ValueError(
                f"{self.num_rows} rows over {self.num_shards} devices leave device "
                f"{used} with zero rows; expected at most {used} devices"
            )

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

    @property
    def sharding(self) -> NamedSharding:
        """Rows over the axis."""
        return NamedSharding(self.mesh, PartitionSpec(self.axis_name))

    @property
    def arguments(self) -> dict[str, Any]:
        """What the functions of this package call mesh, axis_name and num_rows."""
        return dict(vars(self))

    @property
    def own(self) -> range:
        """Numbers the rows of this process's devices: consecutive ones among N.

        Raises:
            ValueError: they do not lie side by side in the mesh, or there are none.
        """
        spans = self.sharding.addressable_devices_indices_map((self.padded_rows,))
        places = [index[0] for index in spans.values() if index is not None]
        starts = sorted({rows.indices(self.padded_rows)[0] for rows in places})
        if not starts or starts[-1] - starts[0] != self.size * (len(starts) - 1):
            raise ValueError(
                f"process {jax.process_index()} has {len(starts)} shards of the mesh "
                "that do not follow each other; expected a mesh as row_mesh makes it"
            )
        return range(starts[0], min(starts[-1] + self.size, self.num_rows))

    def place(self, rows: Array, fill: float = 0) -> jax.Array:
        """Pads rows to equal shares and places them.

        Of an array on the host only the rows of this process's devices are read; a
        traced one is only padded.

        Args:
            rows: [N, ...].
            fill: what the padding holds.

        Returns:
            [P n, ...], spread over the axis.
        """
        if not isinstance(rows, jax.Array):
            return self._place_from(rows, fill, first=0)
        padding = self.padded_rows - len(rows)
        if padding:
            widths = [(0, padding)] + [(0, 0)] * (rows.ndim - 1)
            rows = jnp.pad(rows, widths, constant_values=fill)
        return rows if isinstance(rows, Tracer) else jax.device_put(rows, self.sharding)

    def place_own(self, rows: Array, fill: float = 0) -> jax.Array:
        """Places the rows that each process has for itself.

        Args:
            rows: those of `own`.
            fill: what the padding holds.

        Returns:
            [P n, ...], spread over the axis.

        Raises:
            ValueError: another number of rows.
        """
        own = self.own
        if len(rows) != len(own):
            raise ValueError(
                f"got {len(rows)} rows in process {jax.process_index()}; expected the "
                f"{len(own)} that it owns, {own.start} to {own.stop - 1}"
            )
        return self._place_from(np.asarray(rows), fill, first=own.start)

    def _place_from(self, rows: np.ndarray, fill: float, *, first: int) -> jax.Array:
        def read(index):
            start, stop, _ = index[0].indices(self.padded_rows)
            part = np.asarray(rows[start - first : min(stop, self.num_rows) - first])
            widths = [(0, stop - start - len(part))] + [(0, 0)] * (part.ndim - 1)
            return np.pad(part, widths, constant_values=fill)

        shape = (self.padded_rows, *rows.shape[1:])
        return jax.make_array_from_callback(shape, self.sharding, read)

    def take_own(self, array: Array) -> np.ndarray:
        """Copies the rows of `own` to the host, without padding.

        Args:
            array: [N, ...] or [P n, ...], spread over the axis or whole here.

        Returns:
            Those rows.
        """
        own = self.own
        if not isinstance(array, jax.Array) or array.is_fully_addressable:
            return np.asarray(array[own.start : own.stop])
        pieces = {
            shard.index[0].indices(len(array))[0]: shard.data
            for shard in array.addressable_shards
        }
        rows = np.concatenate([np.asarray(pieces[start]) for start in sorted(pieces)])
        return rows[: len(own)]

    def without_padding(self, tree: Any, given_rows: int) -> Any:
        """Drops the padding that was not given.

        Args:
            tree: of arrays [P n, ...].
            given_rows: how many rows came in.

        Returns:
            The same tree of arrays [given_rows, ...].
        """
        if given_rows == self.padded_rows:
            return tree
        return jax.tree.map(lambda rows: rows[:given_rows], tree)


def layout_of(
    features: Array, mesh: Mesh, axis_name: str, num_rows: int | None
) -> Layout:
    """Checks that features are [N, D], or [P n, D] with the padding of `shard_rows`.

    `num_rows` is N where they may be padded. Raises ValueError as `Layout` does.
    """
    if features.ndim != 2:
        raise ValueError(f"features have shape {features.shape}; expected [N, D]")
    given_rows = len(features)
    layout = Layout(mesh, axis_name, given_rows if num_rows is None else num_rows)
    if given_rows not in (layout.num_rows, layout.padded_rows):
        raise ValueError(
            f"features have {given_rows} rows with num_rows={num_rows}; expected "
            f"{num_rows}, or {layout.padded_rows} with the padding of shard_rows"
        )
    return layout


def map_on_mesh(
    function: Callable, inputs: Any, outputs: Any, *, mesh: Mesh, axis_name: str
) -> Callable:
    """Maps a per-shard function over one axis of a mesh, by shard_map.

    The function takes and gives pytrees and uses collectives over the axis. `inputs`
    and `outputs` are prefix pytrees of its arguments and results: True for rows, which
    are spread, False for what every shard gets whole, or gives alike.
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
    """Maps a per-shard function over devices of this host, by pmap; see above."""
    mapped_axes, result_axes = (
        jax.tree.map(lambda rows: 0 if rows else None, are_rows)
        for are_rows in (inputs, outputs)
    )
    mapped = jax.pmap(
        function,
        axis_name=axis_name,
        in_axes=mapped_axes,
        out_axes=result_axes,
        devices=list(mesh.devices.flat),
    )

    def where_rows(change, are_rows, trees):
        return jax.tree.map(
            lambda rows, tree: jax.tree.map(change, tree) if rows else tree,
            are_rows,
            trees,
        )

    def cut(x):
        return jnp.reshape(x, (mesh.size, -1, *x.shape[1:]))

    def join(x):
        return jnp.reshape(x, (-1, *x.shape[2:]))

    def whole(*operands):
        results = mapped(*where_rows(cut, inputs, operands))
        return where_rows(join, outputs, results)

    return whole


def row_mesh(num_devices: int | None = None, *, per_process: int | None = None) -> Mesh:
    """Lays the devices of all processes in a line to spread rows over.

    Args:
        num_devices: how many of them; all by default.
        per_process: how many of each process instead, so that every one takes part.

    Returns:
        A mesh whose only axis, "rows", is automatic.

    Raises:
        ValueError: more devices asked than there are, or none.
    """
    devices = jax.devices()
    if per_process is not None:
        held: dict[int, list[Device]] = {}
        for device in devices:
            held.setdefault(device.process_index, []).append(device)
        devices = [d for own in held.values() for d in first_devices(own, per_process)]
    return line_mesh(first_devices(devices, num_devices))


def first_devices(devices: Sequence[Device], count: int | None) -> Sequence[Device]:
    """Takes the first devices, all by default; refuses a count that is not there."""
    count = len(devices) if count is None else count
    if not 1 <= count <= len(devices):
        raise ValueError(
            f"{count} devices asked; expected 1 to {len(devices)}, which are there"
        )
    return devices[:count]


def line_mesh(devices: Sequence[Device], axis_name: str = AXIS) -> Mesh:
    """Lays devices in a line of one automatic axis."""
    return Mesh(np.array(devices), (axis_name,), axis_types=(AxisType.Auto,))


def shard_rows(
    rows: Array, *, mesh: Mesh, axis_name: str, fill: float = 0
) -> jax.Array:
    """Places rows on the devices that own them, padded to equal shares.

    Every process reads only the rows of its own devices, so `rows` may be a memory
    map of a file that no process could hold.

    Args:
        rows: [N, ...], the same in every process.
        mesh: see `row_mesh`.
        axis_name: the axis to spread over.
        fill: what the padding holds: 0 for features, -1 for indices.

    Returns:
        [P ⌈N/P⌉, ...] of the same dtype, to be passed on with `num_rows=N`.

    Raises:
        ValueError: an axis that the mesh lacks, or zero rows on a device.
    """
    return Layout(mesh, axis_name, len(rows)).place(rows, fill)
