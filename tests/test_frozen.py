"""Every form gives what it gave when its outputs were stored (`frozen/make.py`)."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import X64

# The process runs both precisions; once is enough.
pytestmark = pytest.mark.skipif(not X64, reason="runs in the float64 pass")

FOLDER = pathlib.Path(__file__).parent / "frozen"
STORED = dict(np.load(FOLDER / "outputs.npz"))
FORMS = sorted({name.rsplit("/", 1)[0] for name in STORED})
# Relative to the largest value: another machine adds up in another order.
TOLERANCE = {"float64": 1e-12, "float32": 1e-6}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """One process, since JAX fixes the number of devices when it starts."""
    path = tmp_path_factory.mktemp("frozen") / "outputs.npz"
    subprocess.run(
        [sys.executable, "-m", "tests.frozen.make", str(path)],
        cwd=FOLDER.parents[1],
        check=True,
    )
    return dict(np.load(path))


@pytest.mark.parametrize("form", FORMS)
def test_output_is_the_stored_one(found, form):
    for name, want in STORED.items():
        if name.rsplit("/", 1)[0] != form:
            continue
        got = found[name]
        assert got.dtype == want.dtype
        scale = TOLERANCE[name.split("/")[0]] * max(1, np.abs(want).max())
        np.testing.assert_allclose(got, want, rtol=0, atol=scale, err_msg=name)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("preset", "memory"),
    [("default", "hard/affinity/fixed"), ("paper", "hard/uniform/rescore")],
)
def test_where_the_rows_live_changes_no_bit(found, dtype, preset, memory):
    # But for the residual, a sum over all rows; and a ring adds up parts of the sums.
    pairs = [
        (f"memory/{memory}/{field}", f"{form}/{preset}/{field}")
        for form in ("streamed", "sharded/gather", "pmap/gather")
        for field in ("features", "degree")
    ]
    fields = ("features", "degree", "residual")
    pairs += [(f"{x}/ring/{preset}/{f}" for x in ("sharded", "pmap")) for f in fields]
    for names in pairs:
        want, got = (found[f"{dtype}/{name}"] for name in names)
        np.testing.assert_array_equal(got, want)


def test_no_form_is_left_out(found):
    assert found.keys() == STORED.keys()
