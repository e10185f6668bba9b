"""What the tests of the experiments share."""

import sys

import pytest


@pytest.fixture(scope="module", autouse=True)
def uncounted():
    """Counts no lines of the package here, which would cost a quarter of the time."""
    trace = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(trace)
