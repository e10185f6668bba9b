import errno
import json
import os
import pathlib
import resource
import signal
import stat
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from gfa_jax import datasets
from gfa_jax.datasets import atomic
from gfa_jax.datasets.fingerprints import fingerprint

OLD = b"the old file\n"


@pytest.fixture
def old_file(tmp_path):
    path = tmp_path / "result.txt"
    path.write_bytes(OLD)
    return path


def assert_untouched(path):
    assert path.read_bytes() == OLD
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_new_file_appears_only_at_the_end(tmp_path):
    path = tmp_path / "result.npy"
    with datasets.atomic_path(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".npy"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_failure_leaves_the_old_file(old_file, failure):
    with (
        pytest.raises(failure),
        datasets.atomic_path(old_file) as temporary,
    ):
        temporary.write_text("half")
        raise failure
    assert_untouched(old_file)


def test_full_disk_is_one_clear_line(old_file):
    with (
        pytest.raises(ValueError, match=r"result\.txt: No space left on device") as got,
        datasets.atomic_path(old_file) as temporary,
    ):
        temporary.unlink()
        temporary.symlink_to("/dev/full")
        temporary.write_bytes(b"x")
    assert "\n" not in str(got.value)
    assert isinstance(got.value.__cause__, OSError)
    assert_untouched(old_file)


@pytest.mark.parametrize("name", ["big.npy", "big.npz", "big.bin"])
def test_write_that_fails_half_way(tmp_path, rng, name):
    path = tmp_path / name
    path.write_bytes(OLD)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(ValueError, match=f"cannot write .*{name}: File too large"):
            datasets.write_features(path, rng.normal(size=(100, 64)).astype("f4"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_untouched(path)


def test_kill_leaves_the_old_file_whole(old_file):
    program = (
        "import sys\n"
        "from gfa_jax.datasets.atomic import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary, temporary.open('wb') as file:\n"
        "    file.write(b'half')\n"
        "    file.flush()\n"
        "    print('writing', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(old_file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert old_file.read_bytes() == OLD
    (left,) = set(old_file.parent.iterdir()) - {old_file}
    assert left.name.startswith(".gfa_jax-")
    datasets.write_text(old_file, "new")
    assert old_file.read_text() == "new"


def test_error_about_another_file_passes_through(old_file, tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="missing"),
        datasets.atomic_path(old_file),
    ):
        (tmp_path / "missing").read_bytes()
    assert_untouched(old_file)


@pytest.mark.parametrize(
    ("path", "message"),
    [("/", "it is a folder"), ("/dev/null", "it is a device or pipe")],
)
def test_what_is_no_file_is_never_replaced(path, message):
    with pytest.raises(ValueError, match=message):
        datasets.write_text(path, "new")
    assert not pathlib.Path(path).is_file()


def test_folder_is_not_writable(old_file, monkeypatch):
    def refuse(self, **_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(atomic.pathlib.Path, "touch", refuse)
    monkeypatch.setattr(atomic.pathlib.Path, "unlink", refuse)
    with pytest.raises(ValueError, match=r"result\.txt: Permission denied"):
        datasets.write_text(old_file, "new")
    monkeypatch.undo()
    assert_untouched(old_file)


def test_read_only_file_is_not_replaced(old_file, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ValueError, match="it is read-only"):
        datasets.write_text(old_file, "new")
    assert_untouched(old_file)


def test_permissions_stay_and_a_link_stays_a_link(old_file, tmp_path):
    old_file.chmod(0o640)
    link = tmp_path / "latest.txt"
    link.symlink_to(old_file)
    datasets.write_text(link, "new")
    assert link.is_symlink()
    assert old_file.read_text() == "new"
    assert stat.S_IMODE(old_file.stat().st_mode) == 0o640


def test_json_takes_numpy_values(tmp_path):
    path = tmp_path / "a.json"
    datasets.write_json(path, {"a": np.float32(0.5), "b": np.arange(2), "é": None})
    expected = {"a": 0.5, "b": [0, 1], "é": None}
    assert json.loads(path.read_text("utf-8")) == expected


@pytest.mark.parametrize("value", [np.nan, np.inf, np.float32(np.nan)])
def test_json_refuses_values_it_cannot_hold(old_file, value):
    with pytest.raises(ValueError, match="JSON"):
        datasets.write_json(old_file, {"tpr": value})
    assert_untouched(old_file)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24).reshape(2, 3, 4),
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(20)[::3],
        np.float32(2.5),
        np.zeros((0, 5)),
        np.array(["a", "bcd"]),
        np.array([True, False]),
    ],
)
def test_arrays_come_back_equal(tmp_path, array, monkeypatch):
    monkeypatch.setattr(atomic, "_BLOCK_BYTES", 32)
    datasets.write_array(tmp_path / "a.npy", array)
    datasets.write_arrays(tmp_path / "a.npz", {"x": array, "y": [1, 2]})
    single = np.load(tmp_path / "a.npy")
    with np.load(tmp_path / "a.npz") as archive:
        assert archive.files == ["x", "y"]
        for got in (single, archive["x"]):
            np.testing.assert_array_equal(got, array)
            assert got.dtype == np.asarray(array).dtype


@pytest.mark.parametrize("kind", ["numpy", "device"])
def test_blocks_are_written_in_order_and_hashed_on_the_way(
    tmp_path, rng, monkeypatch, kind
):
    monkeypatch.setattr("gfa_jax.datasets.atomic._BLOCK_BYTES", 64)
    array = rng.normal(size=(37, 4)).astype(np.float32)
    given = jnp.asarray(array) if kind == "device" else array
    written = datasets.write_array(tmp_path / "a.npy", given)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)
    assert written == fingerprint(tmp_path / "a.npy")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_object_array_is_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(OLD)
    array = np.array([None, "a"], object)
    with pytest.raises(ValueError, match="dtype object, which only a pickle can hold"):
        if suffix == ".npy":
            datasets.write_array(path, array)
        else:
            datasets.write_arrays(path, {"x": array})
    assert_untouched(path)
