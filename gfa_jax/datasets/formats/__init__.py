"""The one table of formats: which suffix is read and written by what.

A reader is a generator: it takes a path and a `Wanted`, and gives blocks of a `Table`,
one that is mapped where the format lets it. A writer takes a path and a `Table`. A new
format is one module of these two and a line here.
"""

import importlib
import pathlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from gfa_jax.datasets.formats import (
    binary,
    json_lines,
    numpy_files,
    tensors,
    text,
    vectors,
)
from gfa_jax.datasets.formats.table import Table, Wanted

Read = Callable[[pathlib.Path, Wanted], Iterator[Table]]
Write = Callable[[pathlib.Path, Table], None]


class Format(NamedTuple):
    """How files of one suffix are read and written."""

    read: Read  # gives the table in blocks
    write: Write  # writes one into an empty file
    columns: str  # what it holds beside the vectors: "any", "numbers" or "none"


def _by_extra(name: str, package: str) -> tuple[Read, Write]:
    """Returns `read` and `write` of a module that an extra package is needed for."""

    def module():
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ImportError(
                f"this format is read by {package}, which is not installed: pip "
                "install 'gfa_jax[formats]'"
            ) from error
        return importlib.import_module(f"gfa_jax.datasets.formats.{name}")

    return (
        lambda path, wanted: module().read(path, wanted),
        lambda path, table: module().write(path, table),
    )


_COLUMNAR = Format(*_by_extra("columnar", "pyarrow"), "any")
_HDF5 = Format(*_by_extra("hdf5", "h5py"), "any")
_TEXT = Format(text.read, text.write, "any")
_JSON_LINES = Format(json_lines.read, json_lines.write, "any")
_VECS = Format(vectors.read_vecs, vectors.write_vecs, "none")
_BIN = Format(vectors.read_bin, vectors.write_bin, "none")
_FAISS = Format(vectors.read_faiss, vectors.write_faiss, "none")

FORMATS = {
    ".npy": Format(numpy_files.read_npy, numpy_files.write_npy, "none"),
    ".npz": Format(numpy_files.read_npz, numpy_files.write_npz, "any"),
    ".csv": _TEXT,
    ".tsv": _TEXT,
    ".txt": _TEXT,
    ".jsonl": _JSON_LINES,
    ".ndjson": _JSON_LINES,
    ".parquet": _COLUMNAR,
    ".arrow": _COLUMNAR,
    ".feather": _COLUMNAR,
    ".h5": _HDF5,
    ".hdf5": _HDF5,
    ".safetensors": Format(tensors.read, tensors.write, "numbers"),
    ".bin": Format(binary.read, binary.write, "none"),
    ".fvecs": _VECS,
    ".bvecs": _VECS,
    **dict.fromkeys((".fbin", ".f16bin", ".u8bin", ".i8bin", ".ibin"), _BIN),
    ".index": _FAISS,
    ".faiss": _FAISS,
}

# Formats that only code can open, or that hold more than vectors, and that code.
_LOAD = {
    ".pt": "torch.load({path!r}, weights_only=True).numpy()",
    ".pkl": "pickle.load(open({path!r}, 'rb'))  # runs code: only if you trust it",
    ".mat": "scipy.io.loadmat({path!r})['features']",
    ".lmdb": "numpy.stack([numpy.frombuffer(v, 'float32') for _, v in "
    "lmdb.open({path!r}).begin().cursor()])",
    ".json": "numpy.stack(pandas.read_json({path!r})['embedding'])",
    ".xlsx": "pandas.read_excel({path!r}).to_numpy()",
}
_SAME = {".pth": ".pt", ".pickle": ".pkl", ".mdb": ".lmdb"}


def find(path: pathlib.Path, verb: str) -> Format:
    """Returns the format of a path by its suffix, or says how to come to one."""
    suffix = path.suffix.lower()
    if suffix in FORMATS:
        return FORMATS[suffix]
    load = _LOAD.get(_SAME.get(suffix, suffix))
    if load is not None and verb == "read":
        source = str(path.parent if suffix == ".mdb" else path)
        line = load.format(path=source)
        kept, _, comment = line.partition("  # ")
        note = f" ({comment})" if comment else ""
        raise ValueError(
            f"cannot read {path}: {suffix} files are opened by code of your own; in "
            f"Python: numpy.save('features.npy', {kept}){note}"
        )
    raise ValueError(
        f"cannot {verb} {path}: got the suffix {suffix!r}, expected one of "
        f"{', '.join(FORMATS)}"
    )
