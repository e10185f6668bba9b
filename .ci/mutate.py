"""Changes a module in many small ways, and lists the changes that its tests miss.

    pip install cosmic-ray
    python .ci/mutate.py gfa_jax/affinity.py tests/test_affinity.py

The changes are those of cosmic-ray, drawn by a seed; each is tested in a process forked
after the imports, which costs a tenth of a new one. Further arguments go to pytest.
"""

import argparse
import ast
import contextlib
import importlib.machinery
import os
import pathlib
import random
import resource
import signal
import tempfile

# What one test compiled, the next has; JAX reads this as it is imported.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", tempfile.mkdtemp())
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import hypothesis  # noqa: F401
import jax  # noqa: F401
import pytest
import scipy.sparse.csgraph  # noqa: F401
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.provider import OperatorProvider

# These need arguments.
_LEFT_OUT = ("VariableInserter", "VariableReplacer")


def find_mutants(source: str) -> list[str]:
    """Makes all changed sources that compile and differ in meaning."""
    found, provider, original = [], OperatorProvider(), meaning(source)
    for operator in (provider[name]() for name in provider if name not in _LEFT_OUT):
        places = sum(
            len(list(operator.mutation_positions(node)))
            for node in ast_nodes(get_ast(source))
        )
        for place in range(places):
            mutant = mutate_code(source, operator, place)
            with contextlib.suppress(SyntaxError):
                if meaning(mutant) != original:
                    found.append(mutant)
    return found


def meaning(source: str) -> str:
    """Gives what a source does.

    Without annotations, which would only fail to load, without `*` and `/` between
    arguments, and with `is` as `==`, which small numbers do not tell apart.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arguments):
            node.args = [*node.posonlyargs, *node.args, *node.kwonlyargs]
            node.posonlyargs, node.kwonlyargs = [], []
            given = (value for value in node.kw_defaults if value is not None)
            node.defaults, node.kw_defaults = [*node.defaults, *given], []
        elif isinstance(node, ast.Compare):
            same = {ast.Is: ast.Eq, ast.IsNot: ast.NotEq}
            node.ops = [same.get(type(kind), type(kind))() for kind in node.ops]
        for field in ("annotation", "returns"):
            if getattr(node, field, None) is not None:
                setattr(node, field, ast.Constant(None))
    return ast.dump(tree)


def survives(module: str, mutant: str, arguments: list[str], seconds: int) -> bool:
    """Runs the tests on a changed module in a fork; too long a run is noticed."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    # Of the processor's time, so that a busy machine does not notice a change.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    signal.alarm(20 * seconds)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    loader = importlib.machinery.SourceFileLoader
    get_code = loader.get_code

    def changed(self, name):
        if name != module:
            return get_code(self, name)
        return compile(mutant, self.path, "exec")

    loader.get_code = changed
    early = "-Wignore::pytest.PytestAssertRewriteWarning"  # imported before pytest
    os._exit(pytest.main(["-x", "-q", "-p", "no:cacheprovider", early, *arguments]))


def main() -> None:
    """Prints each surviving change, and how many were noticed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=int, default=300)
    options, arguments = parser.parse_known_args()
    source = options.path.read_text()
    module = ".".join(options.path.with_suffix("").parts)
    if not survives(module, source, arguments, 10 * options.timeout):
        raise SystemExit("the tests fail, or take too long, without a change")
    mutants = find_mutants(source)
    random.Random(options.seed).shuffle(mutants)
    chosen, lines, killed = mutants[: options.count], source.splitlines(), 0
    for mutant in chosen:
        if not survives(module, mutant, arguments, options.timeout):
            killed += 1
            continue
        for number, (old, new) in enumerate(
            zip(lines, mutant.splitlines(), strict=False), 1
        ):
            if old != new:
                print(f"{options.path}:{number}: {old.strip()}  ->  {new.strip()}")
                break
    print(f"{options.path}: {killed} of {len(chosen)} noticed, of {len(mutants)}")


if __name__ == "__main__":
    main()
