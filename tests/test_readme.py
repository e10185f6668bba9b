"""The README's example runs as printed, and its two commands name what exists."""

import pathlib
import re
import tomllib

_REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
_README = (_REPOSITORY / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _README, re.DOTALL)


def test_the_example_runs_and_helps(capsys):
    (example,) = blocks("python")
    assert len(example.strip().splitlines()) <= 15
    exec(compile(example, "README.md", "exec"), {})
    before, after = capsys.readouterr().out.strip().splitlines()
    assert before.startswith("before") and after.startswith("after")
    numbers = [float(x) for x in re.findall(r"\d\.\d+", before + after)]
    half = len(numbers) // 2
    assert half == 3
    # At 1e-4 and at 1e-3; the strictest column rests on few pairs.
    assert all(a > b for b, a in zip(numbers[1:half], numbers[half + 1 :], strict=True))


def test_the_two_commands_name_extras_modules_and_tests_that_exist():
    run, test = blocks("bash")[:2]
    project = tomllib.loads((_REPOSITORY / "pyproject.toml").read_text())["project"]
    for command in (run, test):
        (extras,) = re.findall(r"pip install '\.\[(.*?)\]'", command)
        assert set(extras.split(",")) <= set(project["optional-dependencies"])
    (module,) = re.findall(r"python -m (experiments\.\w+)", run)
    assert (_REPOSITORY / f"{module.replace('.', '/')}.py").exists()
    assert "python -m pytest" in test


def test_every_experiment_is_in_the_readme():
    for path in (_REPOSITORY / "experiments").glob("*.py"):
        if '__name__ == "__main__"' in path.read_text():
            assert f"experiments.{path.stem}" in _README
