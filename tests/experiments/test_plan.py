"""The plan: its page is what its command prints, its seconds are those measured."""

import pathlib

import pytest

from experiments import plan
from tests.programs.programs import REPOSITORY, call

_PAGE = pathlib.Path(REPOSITORY, ".docs", "pages", "plan.md")


def test_the_page_is_what_its_command_prints():
    page = _PAGE.read_text()
    (command,) = [x for x in page.splitlines() if x.startswith("python -m")]
    finished = call("plan", *command.split()[3:])
    assert finished.returncode == 0 and finished.stdout in page


def test_a_stage_takes_what_it_took():
    found = plan.stages(1_500_000, 512, 57, 1, plan._DEVICES["h100"])
    seconds = {stage.name: stage.seconds for stage in found}
    for name, measured in (
        ("load", 2.75),
        ("exact search", 10.3),
        ("settings", 2.74),
        ("updates", 4 * 0.393),
        ("files", 4.93),
    ):
        assert seconds[name] == pytest.approx(measured, rel=0.01)
    (*_, clusters) = plan.stages(10_000_000, 64, 16, 1, plan._DEVICES["cores"])
    assert clusters.seconds == pytest.approx(216, rel=0.01)


def test_more_devices_never_take_more_of_one():
    few, many = (
        [*plan.stages(10**9, 512, 57, p, plan._DEVICES["cores"])] for p in (64, 640)
    )
    for before, after in zip(few[:-1], many[:-1], strict=True):
        assert after.seconds <= before.seconds and after.memory < before.memory
        assert after[2:4] == before[2:4]
    # Of the clusters every host holds an array of all rows, and two join their forests.
    assert many[-1].seconds < few[-1].seconds and many[-1].memory == few[-1].memory


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--rows=10 --devices=11", "--rows=10 over --devices=11; expected a row each"),
        ("--rows=nan", "--rows=nan; expected a finite number"),
        ("--rows=1e300", "--rows=1e300"),
        # No number of devices is enough.
        ("--dim=10000000000", "--dim=10000000000"),
        ("--k=10000000000", "--k=10000000000"),
    ],
)
def test_what_makes_no_plan_is_refused(given, message):
    code, stdout, stderr = call("plan", *given.split())
    assert (code, stdout) == (2, "")
    (line,) = stderr.splitlines()
    assert message in line
