"""Runs `eight_devices_*.py` where there are eight devices.

JAX fixes the number of devices when it starts, so the tests run in a pytest of their
own.
"""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
FILES = sorted(HERE.glob("eight_devices_*.py"))


def test_on_eight_devices():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", *FILES],
        env=os.environ
        | {
            "JAX_PLATFORMS": "cpu",
            "PYTEST_ADDOPTS": "",  # which are for the tests that start this one
            # The tests compile much and compute little.
            "XLA_FLAGS": "--xla_force_host_platform_device_count=8"
            " --xla_backend_optimization_level=0",
        },
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "skipped" not in done.stdout
