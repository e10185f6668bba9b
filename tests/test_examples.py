"""The examples of the docstrings run; every function of `gfa.*` has one.

`features` [300, 32] and their `labels` are generated, `folder` is an empty one.
"""

import doctest
import inspect

import jax
import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import datasets, metrics
from tests.test_package import FUNCTIONS

_EXAMPLES = {
    name: found[0]
    for name, function in FUNCTIONS.items()
    if (found := doctest.DocTestFinder().find(function, name)) and found[0].examples
}


@pytest.fixture(scope="module")
def sample():
    return datasets.synthetic_features(num_rows=300, dim=32, seed=1)


@pytest.mark.parametrize("name", _EXAMPLES)
def test_it_runs(name, sample, tmp_path):
    example = _EXAMPLES[name]
    example.globs = {
        "datasets": datasets,
        "features": sample.features,
        "folder": tmp_path,
        "gfa": gfa,
        "labels": sample.labels,
        "metrics": metrics,
        "np": np,
    }
    said: list[str] = []
    with jax.enable_x64(False):
        failed, _ = doctest.DocTestRunner().run(example, out=said.append)
    assert not failed, "".join(said)


def test_every_function_at_the_front_has_one():
    functions = (v for v in map(vars(gfa).get, gfa.__all__) if inspect.isfunction(v))
    names = {f"{f.__module__}.{f.__qualname__}" for f in functions}
    assert names <= {*_EXAMPLES}
