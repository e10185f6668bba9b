"""What `import gfa_jax` gives and what it leaves alone; the form of the package."""

import importlib
import inspect
import os
import pathlib
import pkgutil
import re
import subprocess
import sys
from typing import Any

import pytest

import gfa_jax

FOLDER = pathlib.Path(gfa_jax.__file__).parent
PACKAGES = ["gfa_jax"] + [
    module.name
    for module in pkgutil.walk_packages([str(FOLDER)], "gfa_jax.")
    if module.ispkg
]


def public(package: str) -> list[tuple[str, Any]]:
    module = importlib.import_module(package)
    return [(name, getattr(module, name)) for name in getattr(module, "__all__", ())]


FUNCTIONS = {
    f"{value.__module__}.{name}": value
    for package in PACKAGES
    for name, value in public(package)
    if inspect.isfunction(value)
}


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | environment,
        cwd=FOLDER.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def test_import_leaves_the_heavy_packages_alone():
    heavy = [
        "faiss",
        "flax",
        "lineax",
        "matplotlib",
        "optimistix",
        "sklearn",
        "scipy",
        "tqdm",
    ]
    done = run(
        "import sys, gfa_jax; "
        f"print(*[name for name in {heavy} if name in sys.modules])"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_the_estimator_comes_when_it_is_asked_for():
    done = run(
        "import sys; sys.modules['sklearn'] = None; import gfa_jax; "
        "print('imported'); gfa_jax.Refiner"
    )
    assert done.stdout.split() == ["imported"]
    assert done.stderr.splitlines()[-1].startswith("ModuleNotFoundError: ")


def test_import_touches_no_device():
    # A backend that does not exist fails the first time that JAX reaches for it.
    done = run("import gfa_jax; print('imported')", JAX_PLATFORMS="none")
    assert done.returncode == 0, done.stderr
    reached = run("import jax.numpy; jax.numpy.zeros(1)", JAX_PLATFORMS="none")
    assert "Unable to initialize backend" in reached.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_sorted_and_resolve(package):
    names = [name for name, _ in public(package)]
    # Constants, then classes, then functions: the order that Ruff keeps.
    assert names == sorted(names, key=lambda n: (not n.isupper(), n[0].islower(), n))
    assert len(set(names)) == len(names)
    assert not any(name.startswith("_") for name in names)


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev)\d+)?", gfa_jax.__version__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_functions_say_what_they_take_and_return(name):
    function = FUNCTIONS[name]
    doc = inspect.getdoc(function)
    assert doc
    is_at_the_front = function in vars(gfa_jax).values()
    if is_at_the_front or "\nArgs:\n" in doc:
        described = set(re.findall(r"^ {4}\*{0,2}(\w+):", doc, re.MULTILINE))
        assert set(inspect.signature(function).parameters) <= described
    assert "\nReturns:\n" in doc or not is_at_the_front


def test_every_module_says_its_idea():
    for path in FOLDER.rglob("*.py"):
        assert path.read_text().startswith('"""'), path


def test_faiss_is_imported_in_one_file():
    importing = [
        path.relative_to(FOLDER).as_posix()
        for path in FOLDER.rglob("*.py")
        if re.search(r"\b(import faiss|from faiss)\b", path.read_text())
    ]
    assert importing == ["neighbors/faiss.py"]
