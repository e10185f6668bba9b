"""The counts of compiled programs against the formulas, and the model by hand."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from experiments import hlo, scaling_model
from gfa_jax import sharding

_REPOSITORY = pathlib.Path(__file__).resolve().parents[2]

_HLO = """HloModule jit_f

%add.1 (a: f32[], b: f32[]) -> f32[] {
  ROOT %s = f32[] add(%a, %b)
}

%body.2 (state: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %p = f32[8,4]{1,0} collective-permute(%x), source_target_pairs={{0,1},{1,0}}
  %q = (f32[2]{0}, pred[16]{0}) collective-permute-start(%y)
}

%condition.3 (state: (s32[], f32[8,4])) -> pred[] {
  ROOT %c = pred[] compare(%i, %n)
}

ENTRY %main (x: f32[8,4]) -> f32[8,4] {
  %w = (s32[], f32[8,4]{1,0}) while(%t), condition=%condition.3, body=%body.2, """
_HLO += """backend_config={"known_trip_count":{"n":"3"}}
  %g = bf16[8,4]{1,0} all-gather(%z), dimensions={0}
  ROOT %r = f32[10]{0} all-reduce(%g), to_apply=%add.1
}
"""


def test_bytes_of_collectives_are_read_off_the_program():
    in_loop = 3 * (8 * 4 * 4 + 2 * 4 + 16)
    gathered = 8 * 4 * 2 * 3 / 4
    reduced = 2 * 10 * 4 * 3 / 4
    got = hlo.collective_bytes(_HLO, num_devices=4)
    assert got == in_loop + gathered + reduced


@pytest.fixture
def machine():
    return scaling_model.Machine(
        tflops=10.0,
        memory_gbs=1000.0,
        memory_gb=40.0,
        near_gbs=100.0,
        far_gbs=10.0,
        gpus_per_host=4,
        index_tflops=1.0,
        index_gbs=100.0,
        price=2.0,
    )


def job(num_rows: int) -> scaling_model.Job:
    return scaling_model.Job(num_rows, dim=256, k=11, num_steps=3, nprobe=8)


def test_the_model_by_hand(machine):
    exact = scaling_model.exact_search(job(10**6), machine, 1)
    # 256e12 operations at 10e12 a second, 16 bytes for each of 0.5e12 cosines.
    assert exact.seconds == pytest.approx(25.6 + 8.0)
    assert exact.link_bytes == 0
    ring = scaling_model.exact_search(job(10**6), machine, 4)
    cosines = 250_000**2 * 2.5
    assert ring.seconds == pytest.approx(cosines * (512 / 10e12 + 16 / 1000e9))
    assert ring.link_bytes == 250_000 * (2 * (1024 + 1) + 3 * 10 * 8)
    steps, held, exchange = scaling_model.updates(job(10**6), machine, 8)
    assert exchange == "gather"
    arriving = 7 * 125_000 * 1024
    # Nine far links of the ring are the slowest.
    step = 125_000 * 14 * 1024 / 1000e9 + arriving / 10e9
    assert steps.seconds == pytest.approx(3 * step)
    assert steps.link_bytes == 3 * arriving
    want = sharding.exchange_memory(num_rows=10**6, dim=256, k=11, num_devices=8)
    assert held == want


@pytest.mark.parametrize("num_devices", [1, 8])
def test_choices_turn_where_the_model_says(machine, num_devices):
    def exact(rows):
        return scaling_model.exact_search(job(rows), machine, num_devices).seconds

    def ivf(rows):
        return scaling_model.ivf_search(job(rows), machine, num_devices).seconds

    turn = scaling_model.turning_point(job(0), machine, num_devices, what="ivf")
    assert turn is not None
    assert exact(turn // 2) < ivf(turn // 2)
    assert ivf(turn * 2) < exact(turn * 2)
    full = scaling_model.turning_point(job(0), machine, num_devices, what="full")
    assert full is not None
    for rows, fits in ((full * 0.99, True), (full * 1.01, False)):
        held = scaling_model.updates(job(round(rows)), machine, num_devices)[0]
        assert (held.device_bytes <= 40e9) == fits
    if num_devices == 8:
        ring = scaling_model.turning_point(job(0), machine, 8, what="ring")
        assert ring is not None and ring < full
        assert scaling_model.updates(job(ring * 2 // 3), machine, 8)[2] == "gather"
        assert scaling_model.updates(job(ring + ring // 9), machine, 8)[2] == "ring"


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "experiments.scaling", *flags],
        cwd=_REPOSITORY,
        env=os.environ
        | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_program_counts_what_the_model_says(tmp_path):
    done = run(
        f"--output_dir={tmp_path}",
        "--counted_rows=512",
        "--counted_dim=256",
        "--rows=1e6,1e9",
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    entries = report["counts"]
    assert len(entries) == 2 * 4 * 2
    for entry in entries:
        counted, formula = entry["counted"], entry["model"]
        # Marks, and sums of a few numbers, are left out of the formulas.
        assert counted["link_bytes"] == pytest.approx(
            formula["link_bytes"], rel=0.001, abs=100
        )
        # Comparisons of the lists, and what an update does besides its sums.
        ratio = counted["operations"] / formula["operations"]
        assert 1 <= ratio < (1.2 if entry["stage"] == "search" else 2)
    strong = {
        entry["devices"]: entry["counted"]["operations"]
        for entry in entries
        if entry["scaling"] == "strong" and entry["stage"] == "update"
    }
    assert strong[8] == pytest.approx(strong[1] / 8, rel=0.05)
    plan = {(entry["rows"], entry["gpus"]): entry for entry in report["plan"]}
    assert len(plan) == 6
    assert plan[10**6, 1]["fits"] and not plan[10**9, 1]["fits"]
    for name in ("counts.md", "plan.md"):
        assert (tmp_path / name).read_text().strip() in done.stdout
    assert "nothing was timed on a GPU" in done.stdout


@pytest.mark.parametrize(
    "flag", ["--rows=1e6,x", "--rows=3", "--gpus=0", "--tflops=0", "--price=-1"]
)
def test_bad_plans_are_refused(tmp_path, flag):
    done = run(f"--output_dir={tmp_path}", flag)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
