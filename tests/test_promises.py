"""The page "What it promises": its tests exist, and two that nothing else holds."""

import ast
import pathlib
import re
import socket

import numpy as np

from gfa_jax import datasets
from tests.programs.programs import refine

_REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
_PAGE = _REPOSITORY / ".docs" / "pages" / "promises.md"


def write_pool(folder: pathlib.Path) -> str:
    sample = datasets.synthetic_features(num_rows=300, dim=32, seed=1)
    np.save(folder / "features.npy", sample.features)
    np.save(folder / "labels.npy", sample.labels)
    return f"--features={folder}/features.npy"


def test_every_promise_names_tests_that_are_there():
    section, *promises = re.split(r"^- ", _PAGE.read_text(), flags=re.MULTILINE)
    assert section and len(promises) > 20
    for promise in promises:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", promise)
        assert named, promise
        for path, name in named:
            tree = ast.parse((_REPOSITORY / path).read_text())
            functions = (n.name for n in tree.body if isinstance(n, ast.FunctionDef))
            assert name in functions, f"{path}::{name}"


def test_labels_change_no_bit_of_the_result(tmp_path):
    features = write_pool(tmp_path)
    alone, _ = refine(tmp_path / "alone", features, "--noplots")
    labelled, _ = refine(
        tmp_path / "labelled", features, f"--labels={tmp_path}/labels.npy", "--noplots"
    )
    np.testing.assert_array_equal(labelled, alone)


def test_one_process_opens_no_connection(tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "bind", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    refined, _ = refine(tmp_path / "refined", write_pool(tmp_path), "--noplots")
    assert np.isfinite(refined).all()
