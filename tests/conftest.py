"""What every test shares: strict JAX settings, one random stream, the real data."""

import os
import pathlib

import hypothesis
import jax
import numpy as np
import pytest

# Broadcasting that was not asked for hides shape bugs; float64 shows real error
# beside rounding. GFA_JAX_TEST_X64=0 runs the same tests in float32.
jax.config.update("jax_numpy_rank_promotion", "raise")
X64 = os.environ.get("GFA_JAX_TEST_X64", "1") != "0"
jax.config.update("jax_enable_x64", X64)

# The same problems in every run, and no deadline: the first example compiles.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None)
hypothesis.settings.load_profile("fixed")

_REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
_DATA = pathlib.Path(
    os.environ.get("GFA_JAX_DATA", _REPOSITORY.parent / "shared" / "data")
)


@pytest.fixture(autouse=True, scope="module")
def _drop_compiled_programs():
    """Keeps some thousand compiled programs from filling the memory of a worker."""
    yield
    jax.clear_caches()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def real_data():
    """Opens a real labelled file by name, or skips where it is not on this machine."""

    def load(name: str):
        path = _DATA / name
        if not path.exists():
            pytest.skip(f"{name} is not here: set GFA_JAX_DATA to its folder")
        return np.load(path, allow_pickle=False) if path.suffix == ".npz" else path

    return load
