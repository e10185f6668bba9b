"""What `import gfa_jax` gives and what it leaves alone; the form of the package."""

import ast
import functools
import graphlib
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
MODULES = [
    name
    for module in pkgutil.walk_packages([str(FOLDER)], "gfa_jax.")
    if "programs" not in (name := module.name)
    and "__main__" not in name
    and hasattr(importlib.import_module(name), "__all__")
]


def public(module_name: str) -> list[tuple[str, Any]]:
    module = importlib.import_module(module_name)
    return [(name, getattr(module, name)) for name in getattr(module, "__all__", ())]


def own_methods(value: type) -> list[Any]:
    return [
        method
        for name, method in vars(value).items()
        if inspect.isfunction(method)
        and not name.startswith("_")
        and method.__module__.startswith("gfa_jax")
    ]


FUNCTIONS = {
    f"{function.__module__}.{function.__qualname__}": function
    for module in MODULES
    for _, value in public(module)
    for function in (
        own_methods(value) if inspect.isclass(value) else [inspect.unwrap(value)]
    )
    if inspect.isfunction(function)
}


def described(doc: str) -> set[str]:
    """The arguments that a docstring describes, or another one that it refers to."""
    names = set(re.findall(r"^ {4}\*{0,2}(\w+):", doc, re.MULTILINE))
    for path in re.findall(r"as for\s+`gfa_jax\.([\w.]+)`", doc):
        value = functools.reduce(getattr, path.split("."), gfa_jax)
        names |= described(inspect.getdoc(value) or "")
    return names


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


@pytest.mark.parametrize("package", ["gfa_jax", *MODULES])
def test_public_names_are_sorted_and_resolve(package):
    names = [name for name, _ in public(package)]
    # Constants, then classes, then functions: the order that Ruff keeps.
    assert names == sorted(names, key=lambda n: (not n.isupper(), n[0].islower(), n))
    assert len(set(names)) == len(names)
    assert not any(name.startswith("_") for name in names)


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev)\d+)?", gfa_jax.__version__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_functions_say_what_they_take_return_and_raise(name):
    function = FUNCTIONS[name]
    doc = inspect.getdoc(function) or ""
    signature = inspect.signature(function)
    assert {*signature.parameters} - {"self"} <= described(doc)
    if signature.return_annotation not in (None, "None"):
        assert "\nReturns:\n" in doc or "\nYields:\n" in doc
    if re.search(r"\braise (ValueError|OSError)", inspect.getsource(function)):
        assert "\nRaises:\n" in doc


def test_every_module_says_its_idea():
    for path in FOLDER.rglob("*.py"):
        assert path.read_text().startswith('"""'), path


# Each may import what stands before it, and nothing behind it.
ORDER = """types checks numerics blocks datasets metrics affinity pseudo_center
transposed_sums aggregation fixed_point pooling neighbors selection clustering
tuning layers streaming sharding gallery refinement plotting programs"""


def test_imports_point_downwards_without_a_cycle():
    files = {
        path.relative_to(FOLDER.parent).with_suffix("").as_posix(): path
        for path in FOLDER.rglob("*.py")
    }
    files = {n.replace("/", ".").removesuffix(".__init__"): p for n, p in files.items()}
    graph: dict[str, set[str]] = {name: set() for name in files}
    for name, path in files.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                listed = {f"{node.module}.{alias.name}" for alias in node.names}
                graph[name] |= listed & files.keys() or {f"{node.module}"}
            elif isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names}
    graphlib.TopologicalSorter(graph).prepare()  # raises where there is a cycle
    parts = ORDER.split()
    for name, imported in graph.items():
        assert not any(x.split(".")[0] == "experiments" for x in imported), name
        own = name.split(".")[1:2]
        if own and own[0] in parts:
            ours = {x.split(".")[1] for x in imported if x.startswith("gfa_jax.")}
            assert ours <= set(parts[: parts.index(own[0]) + 1]), name


def test_faiss_is_imported_in_one_file():
    importing = [
        path.relative_to(FOLDER).as_posix()
        for path in FOLDER.rglob("*.py")
        if re.search(r"\b(import faiss|from faiss)\b", path.read_text())
    ]
    assert importing == ["neighbors/faiss.py"]
