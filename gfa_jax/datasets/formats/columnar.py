"""Parquet and Arrow (Feather) by pyarrow: a list column, or numbered columns."""

import pathlib
from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gfa_jax.datasets import arrays
from gfa_jax.datasets.formats.table import (
    Table,
    Wanted,
    block_rows,
    blocks,
    find_column,
    find_columns,
    shown,
)
from gfa_jax.datasets.formats.text import vector_names


def read(path: pathlib.Path, wanted: Wanted) -> Iterator[Table]:
    """Reads batches of rows. Nulls among numbers are NaN, in text they are blank.

    Columns that are neither vectors nor one value a row are left out.
    """
    schema, batches = _open(path)
    names = schema.names
    if len(set(names)) < len(names):
        raise ValueError(f"two columns have one name: {shown(names)}; rename one")
    # Of an extension type, as tensors are, the one in which its values are kept.
    types = [getattr(each.type, "storage_type", each.type) for each in schema]
    scalars = [
        name
        for name, type_ in zip(names, types, strict=True)
        if not (pa.types.is_nested(type_) or pa.types.is_large_binary(type_))
    ]
    if wanted.only:
        found, lists = [], False
        others = [scalars[find_column(scalars, wanted)]] if scalars else []
        if not others:
            raise ValueError(f"no column of labels; it holds {shown(names)}")
    else:
        numeric = [pa.types.is_integer(t) or pa.types.is_floating(t) for t in types]
        places, lists = find_columns(names, [*map(_is_list, types)], numeric, wanted)
        found = [names[place] for place in places]
        others = [name for name in scalars if name not in found]
    told, row = tuple(found), 0
    for batch in batches([*found, *others]):
        if wanted.only:
            rows = np.empty((len(batch), 0), np.float32)
        elif lists:
            rows = _lists(batch.column(found[0]), row)
        else:
            rows = _stack([batch.column(name) for name in found])
        columns = {name: _column(batch.column(name)) for name in others}
        yield Table(rows, columns, told)
        row += len(batch)
    if not row:
        raise ValueError("it holds no row")


def write(path: pathlib.Path, table: Table) -> None:
    """Writes a list column, or the numbered columns that were read."""
    features, is_wide = table.features, len(table.vectors) != 1
    if features.dtype == ml_dtypes.bfloat16:
        features = features[:0].astype(np.float32)
    value = pa.from_numpy_dtype(features.dtype)
    names = vector_names(table) if is_wide else list(table.vectors)
    width = table.features.shape[1]
    kind = value if is_wide else pa.list_(value, width)
    columns = {
        name: pa.array(values.tolist() if values.dtype.kind == "U" else values)
        for name, values in table.columns.items()
    }
    schema = pa.schema(
        [(name, each.type) for name, each in columns.items()]
        + [(name, kind) for name in names]
    )
    if path.suffix.lower() == ".parquet":
        writer: Any = pq.ParquetWriter(path, schema)
    else:
        writer = pa.ipc.new_file(str(path), schema)
    with writer:
        start = 0
        for block in blocks(table.features):
            stop = start + len(block)
            block = np.ascontiguousarray(block.astype(features.dtype, copy=False))
            if is_wide:
                vectors = [pa.array(np.ascontiguousarray(each)) for each in block.T]
            else:
                flat = pa.array(block.reshape(-1))
                vectors = [pa.FixedSizeListArray.from_arrays(flat, width)]
            others = [each.slice(start, stop - start) for each in columns.values()]
            writer.write_batch(pa.record_batch([*others, *vectors], schema=schema))
            start = stop


def _open(path: pathlib.Path) -> tuple[Any, Any]:
    """Returns the schema, and what reads named columns batch by batch."""
    if path.suffix.lower() == ".parquet":
        parquet = pq.ParquetFile(path)
        schema = parquet.schema_arrow
        told = parquet.metadata
        row = sum(told.row_group(n).total_byte_size for n in range(told.num_row_groups))
        step = block_rows(row // max(1, told.num_rows))

        def read_parquet(names: list[str]) -> Iterator[Any]:
            for batch in parquet.iter_batches(batch_size=step, columns=names):
                batch.validate(full=True)
                yield batch

        return schema, read_parquet
    with path.open("rb") as file:
        is_file = file.read(6) == b"ARROW1"
    source = pa.memory_map(str(path))
    reader = (pa.ipc.open_file if is_file else pa.ipc.open_stream)(source)

    def read_arrow(names: list[str]) -> Iterator[Any]:
        batches = reader
        if is_file:
            batches = map(reader.get_batch, range(reader.num_record_batches))
        for batch in batches:
            batch.validate(full=True)
            batch = batch.select(names)
            step = block_rows(batch.nbytes // max(1, len(batch)))
            for start in range(0, len(batch), step):
                yield batch.slice(start, step)

    return reader.schema, read_arrow


def _is_list(type_: Any) -> bool:
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(kind(type_) for kind in kinds):
        return False
    value = type_.value_type
    return pa.types.is_floating(value) or pa.types.is_integer(value)


def _lists(column: Any, first: int) -> np.ndarray:
    """Converts a column of lists to [n, D]; all must be of one length."""
    column = getattr(column, "storage", column)
    if column.null_count:
        at = first + column.is_null().index(True).as_py()
        raise ValueError(f"row {at} (counted from 0) has no vector; drop the row")
    if pa.types.is_fixed_size_list(column.type):
        width = column.type.list_size
    else:
        lengths = pc.call_function("list_value_length", [column])
        lengths = lengths.to_numpy(zero_copy_only=False)
        width = int(lengths[0]) if len(lengths) else 0
        arrays.check_entries(
            lengths == width,
            lengths,
            name="the vectors",
            expected=f"{width} values as in the row before; pad or drop it",
            first=first,
        )
    return _floats(column.flatten()).reshape(len(column), width)


def _stack(columns: list[Any]) -> np.ndarray:
    """Converts columns of numbers to [n, D] of the widest of their floats."""
    values = [_floats(column) for column in columns]
    floating = {each.dtype for each in values if each.dtype.kind == "f"}
    dtype = np.result_type(*(floating or {each.dtype for each in values}))
    return np.stack([each.astype(dtype, copy=False) for each in values], axis=1)


def _floats(values: Any) -> np.ndarray:
    return values.to_numpy(zero_copy_only=False)


def _column(values: Any) -> np.ndarray:
    """Converts one value a row to NumPy: nulls to blank text, or to NaN."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_integer(values.type) and values.null_count:
        values = values.cast(pa.string())
    array = values.to_numpy(zero_copy_only=False)
    if array.dtype == object and values.null_count:
        array = np.array(["" if each is None else each for each in array], object)
    return array
