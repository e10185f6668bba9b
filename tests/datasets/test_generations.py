"""A folder of arrays holds one generation, whatever dies or reads beside it."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from gfa_jax.datasets import generations
from gfa_jax.datasets.generations import (
    Generation,
    only_writer,
    read_generation,
    write_generation,
)

KIND = ("some arrays", 3)


def make(number: int) -> Generation:
    rows = np.arange(6, dtype=np.float32).reshape(3, 2) + number
    arrays = {"rows": rows, "same": np.arange(4), "none": np.empty((0, 2))}
    return Generation(number, arrays, {"name": f"n{number}", "step": 0.1 * number})


def assert_equal(found: Generation, expected: Generation) -> None:
    assert (found.number, found.values) == (expected.number, expected.values)
    assert found.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array)
        assert found.arrays[name].dtype == array.dtype


def write(folder: pathlib.Path, number: int) -> None:
    folder.mkdir(exist_ok=True)
    with only_writer(folder):
        write_generation(folder, make(number), kind=KIND)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "made", 1)
    return tmp_path / "made"


def test_it_comes_back(folder):
    assert_equal(read_generation(folder, kind=KIND), make(1))
    (folder / "face-0123456789abcdef.npy").write_text("of a person")
    write(folder, 2)
    assert_equal(read_generation(folder, kind=KIND, whole=True), make(2))
    # Of the first there is nothing left; what is no array of it stays.
    assert len([*folder.iterdir()]) == 5


def test_a_reader_keeps_its_generation(folder, monkeypatch):
    held = read_generation(folder, kind=KIND)
    write(folder, 2)
    assert_equal(held, make(1))
    # Replaced between the head and the arrays: those of one head, not of two.
    read, numbers = generations.is_other, iter((3, 4))

    def late(path, stored, *, quick):
        if number := next(numbers, None):
            write(folder, number)
        return read(path, stored)

    monkeypatch.setattr(generations, "is_other", late)
    assert_equal(read_generation(folder, kind=KIND), make(4))


_KILLED = """
import os, pathlib, sys
from gfa_jax.datasets.generations import read_generation
from tests.datasets.test_generations import KIND, assert_equal, make, write

folder, events = pathlib.Path(sys.argv[1]), [0]
limit = sys.maxsize

def count(event, given):
    if event in ("open", "os.rename", "os.remove", "os.mkdir"):
        events[0] += 1
        if events[0] > limit:
            os._exit(9)

sys.addaudithook(count)
for number in range(2, 99):
    child = os.fork()
    if not child:
        events[0], limit = 0, number - 2
        write(folder, number)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found = read_generation(folder, kind=KIND, whole=True)
    # What was not reported may be there, whole; what was is.
    assert found.number == number or (code == 9 and found.number < number), found
    assert_equal(found, make(found.number))
    if code == 0:
        print(number)
        break
"""


def test_a_kill_at_any_moment_leaves_a_whole_generation(folder):
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(folder)],
        capture_output=True,
        text=True,
        cwd=pathlib.Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10
    # The last one was not killed, and removed what the others left.
    assert len([*folder.iterdir()]) == 4


def test_a_full_disk_changes_nothing(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(path, array):
        np.save(path, array)
        raise ValueError("no space left")

    monkeypatch.setattr(generations, "write_array", fail)
    with pytest.raises(ValueError, match="no space"):
        write(folder, 2)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_second_writer_is_told(folder):
    with (
        only_writer(folder),
        pytest.raises(ValueError, match="another process is writing to it"),
    ):
        write(folder, 2)
    write(folder, 2)


def damage(folder: pathlib.Path, what: str) -> None:
    (rows,) = folder.glob("rows-*")
    head = json.loads((folder / "head.json").read_text())
    if what == "version":
        head["version"] = 4
    elif what == "path":
        head["files"] = {"../rows": head["files"]["rows"]}
        head["sha256"] = generations._hash({k: head[k] for k in head if k != "sha256"})
    elif what == "value":
        head["values"]["step"] = 7
    elif what == "type":
        head["files"] = []
    elif what == "entry":
        head["files"]["rows"] = 3
    if what in ("version", "path", "value", "type", "entry"):
        (folder / "head.json").write_text(json.dumps(head))
    elif what == "text":
        (folder / "head.json").write_text("[" * 99999)
    elif what == "no head":
        (folder / "head.json").unlink()
    elif what == "missing":
        rows.unlink()
    elif what == "short":
        rows.write_bytes(rows.read_bytes()[:-1])
    else:
        rows.write_bytes(rows.read_bytes()[:-1] + b"x")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("version", "got format and version .*4.*, expected .*3"),
        ("path", "is not as it was written"),
        ("value", "is not as it was written"),
        ("type", r"files is \[\]; expected dict"),
        ("entry", "cannot read"),
        ("text", "no JSON"),
        ("no head", "there is no head.json in it"),
        ("missing", "is not whole: rows-"),
        ("short", "is not whole: rows-"),
        ("bit", "is not whole: rows-"),
    ],
)
def test_damage_is_told_in_one_line(folder, what, message):
    damage(folder, what)
    with pytest.raises(ValueError, match=message) as told:
        read_generation(folder, kind=KIND)
    assert "\n" not in str(told.value)
