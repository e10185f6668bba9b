"""The README and the pages it leads to: short, true to the tree, and in plain words."""

import ast
import importlib
import pathlib
import re
import tomllib

import jax
import numpy as np
import pytest

from gfa_jax import datasets, metrics
from gfa_jax.programs import flags
from tests.programs.programs import call, find_program

_REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
_README = _REPOSITORY / "README.md"
_PAGES = [
    _README,
    *sorted((_REPOSITORY / "experiments").glob("*.md")),
    *sorted((_REPOSITORY / ".docs" / "pages").glob("*.md")),
    _REPOSITORY / "gfa_jax" / "CHANGELOG.md",
]
_MOST_LINES = 160
_FIGURE = re.compile(r"(?<![\w.])[01]?\.\d{3}\b")
# Words that this project once had for things that the field has a name for.
_PRIVATE_WORDS = re.compile(
    r"\b(attractions?|remask\w*|guarded|likeness|bound_impostors|isolates?|find_far"
    r"|crowd(s|ed)?|lookers?|spared|hardest|lonely|final_sharpness|over_steps|of_update"
    r"|tally|mates?|announce|as told|come to rest|comes to rest|by its letter"
    r"|the letter of|nobody"
    r"|listing_sums|offer_columns_to_rows|meet_next|say_what_is_missing)\b",
    re.IGNORECASE,
)


def read(page: pathlib.Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(language: str, page: pathlib.Path = _README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", read(page), re.DOTALL)


def anchors(page: pathlib.Path) -> set[str]:
    """The names by which the headings of a page are reached."""
    headings = re.findall(r"^#+ +(.*)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def programs() -> list[str]:
    """The modules under experiments/ that are run from the top, as `experiments.X`."""
    folder = _REPOSITORY / "experiments"
    files = [*folder.glob("*.py"), *folder.glob("*/__main__.py")]
    return sorted(
        f"experiments.{f.parent.name if f.stem == '__main__' else f.stem}"
        for f in files
        if f.stem == "__main__" or '__name__ == "__main__"' in read(f)
    )


def flags_of(command: str) -> list[str]:
    """The flags of `gfa NAME` or `python -m experiments.NAME`."""
    name = re.split(r"[ .]", command)[-1]
    program = (
        importlib.import_module(f"gfa_jax.programs.{name}")
        if command.startswith("gfa ")
        else find_program(name)
    )
    shown = flags.describe(program, everything=True)
    return re.findall(r"^  --(?:\[no\])?(\w+)", shown, re.MULTILINE)


def test_the_readme_is_short_and_shows_a_picture_first():
    lines = read(_README).splitlines()
    assert len(lines) <= _MOST_LINES
    (picture,) = [n for n, line in enumerate(lines) if line.startswith("![")]
    assert picture < 10


def test_the_example_runs_and_helps():
    (example,) = blocks("python")
    names: dict = {}
    exec(compile(example, "README.md", "exec"), names)
    before, after = np.asarray(names["features"]), np.asarray(names["refined"])
    assert after.shape == before.shape
    labels = datasets.synthetic_features(num_rows=len(before), seed=0).labels
    curves = (metrics.all_pairs_roc(rows, labels).roc for rows in (before, after))
    raw, refined = (metrics.tpr_at_fpr(roc, (1e-3,))[0].tpr for roc in curves)
    assert refined > raw + 0.01


@pytest.mark.parametrize(
    "page", [p for p in _PAGES[1:] if blocks("python", p)], ids=lambda page: page.name
)
@pytest.mark.filterwarnings("ignore")  # of the libraries that one comes from
def test_the_python_of_a_page_runs(page):
    names: dict = {}
    with jax.enable_x64(False):
        for block in blocks("python", page):
            exec(compile(block, page.name, "exec"), names)


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_take_their_flags(page):
    shell = [line for b in blocks("bash", page) for line in b.splitlines()]
    spans = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", read(page), flags=re.S))
    for line in (*shell, *(" ".join(span.split()) for span in spans)):
        for name, given in re.findall(
            r"(?:^|&& )(gfa [a-z]\w*|python -m experiments\.[a-z]\w*)((?: \S+)*)",
            line.replace(" -- ", "\ngfa "),  # what `gfa launch` runs
            re.M,
        ):
            flags_given = re.findall(r" --(?:no(?=plots))?(\w+)", given)
            assert {*flags_given} <= {*flags_of(name), "help"}, line


def test_the_commands_of_the_first_pages_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample = datasets.synthetic_features(num_rows=400, dim=16, seed=0)
    np.save("embeddings.npy", sample.features)
    pathlib.Path("identities.txt").write_text("\n".join(map(str, sample.labels)))
    text = read(_README) + read(_REPOSITORY / ".docs" / "pages" / "start.md")
    lines = re.findall(
        r"^gfa (\w+) +(--features=embeddings\.npy.*?)(?: *#.*)?$", text, re.M
    )
    assert {name for name, _ in lines} == {"refine", "cluster", "tune", "verify"}
    for name, given in dict.fromkeys(lines):
        finished = call(name, *given.split())
        assert finished.returncode == 0, finished.stderr
        report = tmp_path / "outputs" / name / "report.json"
        assert report.is_file() or name == "verify"


def test_the_example_is_five_lines():
    (example,) = blocks("python")
    imports = (ast.Import, ast.ImportFrom)
    statements = ast.parse(example).body
    assert len([s for s in statements if not isinstance(s, imports)]) <= 5


def test_the_two_commands_name_extras_a_script_and_the_tests():
    run, test = blocks("bash")
    project = tomllib.loads(read(_REPOSITORY / "pyproject.toml"))["project"]
    for command in (run, test):
        (extras,) = re.findall(r"pip install '\.\[(.*?)\]'", command)
        assert set(extras.split(",")) <= set(project["optional-dependencies"])
    (script,) = re.findall(r"&& (\w+) refine", run)
    assert script in project["scripts"]
    assert "python -m pytest" in test


def test_every_program_is_listed():
    listed = read(_REPOSITORY / "experiments" / "README.md")
    missing = [name for name in programs() if f"`{name}" not in listed]
    assert programs() and not missing


def test_no_page_names_a_program_that_is_not_there():
    for page in _PAGES:
        named = re.findall(r"\bexperiments\.([a-z]\w+)", read(page))
        assert {f"experiments.{name}" for name in named} <= set(programs()), page


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    text = read(page)
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    targets += re.findall(r"^\[\w+\]: (\S+)$", text, re.MULTILINE)
    for target in targets:
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_paths_in_the_text_exist(page):
    for path in re.findall(
        r"`((?:gfa_jax|experiments|colabs|tests)/[\w./]+)(?:::\w+)?`", read(page)
    ):
        assert (_REPOSITORY / path).exists(), path


def test_the_words_are_those_of_the_field():
    code = [
        *_REPOSITORY.glob("gfa_jax/**/*.py"),
        *_REPOSITORY.glob("experiments/**/*.py"),
    ]
    for page in (*_PAGES, *code):
        assert not _PRIVATE_WORDS.search(read(page)), page


def test_the_readme_has_no_measured_figures():
    # Decimals such as .795 belong to RESULTS.md, where the command that wrote them is.
    prose = re.sub(r"```.*?```|^\[paper\].*$", "", read(_README), flags=re.S | re.M)
    assert not re.findall(r"(?<![\w.])0?\.\d{2,}(?![\w.])", prose)


def test_every_table_of_results_says_when_and_how_it_was_made():
    text = read(_REPOSITORY / "experiments" / "RESULTS.md")
    sections = re.split(r"^##+ ", text, flags=re.MULTILINE)[1:]
    measured = [s for s in sections if "\n|---" in s]
    assert measured
    for section in measured:
        heading = section.splitlines()[0]
        assert re.search(r"20\d\d-\d\d-\d\d", section), heading
        assert "machine " in section.lower(), heading


def test_the_figures_of_pages_stand_in_the_results():
    def figures_by_row(page: str) -> list[tuple[str, set[str]]]:
        lines = read(_REPOSITORY / page).splitlines()
        return [
            (line.split("|")[1].strip() if line[:1] == "|" else "", figures)
            for line in lines
            if (figures := {*_FIGURE.findall(line)})
        ]

    measured: dict[str, set[str]] = {}
    for row, figures in figures_by_row("experiments/RESULTS.md"):
        measured[row] = measured.get(row, set()) | figures
    measured[""] = set().union(*measured.values())
    for page in ("tasks", "coming_from"):
        for row, figures in figures_by_row(f".docs/pages/{page}.md"):
            assert figures <= measured[row], row
