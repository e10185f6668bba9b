"""Every notebook installs, runs through, and is stored with its pictures alone.

A notebook has a process and a precision of its own, so it runs in one of the two passes
of the suite only.
"""

import importlib.util
import pathlib

import nbclient
import nbformat
import pytest

from tests.conftest import X64

_REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
_COLABS = _REPOSITORY / "colabs"
_SECONDS = 120  # that a cell may take, on a machine however busy
NOTEBOOKS = sorted(_COLABS.glob("*.ipynb"))

notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: pathlib.Path) -> nbformat.NotebookNode:
    return nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def load_strip():
    spec = importlib.util.spec_from_file_location("strip", _COLABS / "strip.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_notebooks_are_here_and_in_the_readme():
    assert [path.stem[0] for path in NOTEBOOKS] == ["1", "2", "3", "4", "5", "6"]
    readme = (_REPOSITORY / "README.md").read_text(encoding="utf-8")
    missing = [path.name for path in NOTEBOOKS if f"colabs/{path.name}" not in readme]
    assert not missing


@notebooks
def test_is_stored_with_its_pictures_and_nothing_else_that_running_it_leaves(path):
    text = path.read_text(encoding="utf-8")
    stored = load_strip().strip(text, name=path.name)
    assert stored == text, "run: python colabs/strip.py"
    assert len(text) < 300_000
    notebook = read(path)
    nbformat.validate(notebook)
    assert not any(cell.execution_count for cell in code_cells(notebook))
    shown = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert shown and all([*output.data] == ["image/png"] for output in shown)
    assert code_cells(notebook)[-1].outputs, "run: python colabs/strip.py --run"
    assert [cell.id for cell in notebook.cells] == [
        f"cell-{number}" for number in range(1, len(notebook.cells) + 1)
    ]


@notebooks
def test_begins_with_a_link_to_colab_that_names_the_file(path):
    link = load_strip().colab_link(path.name)
    assert f"\n[Open in Colab]({link})\n" in read(path).cells[0].source
    base, _, file = link.partition("/blob/main/")
    assert (_REPOSITORY / file) == path
    # Owner and name come from one place, the project's Repository once it is there.
    assert base.startswith("https://colab.research.google.com/github/")
    assert len(base.split("/")) == 6


def test_strip_removes_outputs_counts_and_metadata_and_keeps_pictures():
    notebook = nbformat.v4.new_notebook(
        metadata={"colab": {"provenance": []}},
        cells=[
            nbformat.v4.new_code_cell(
                "1 + 1",
                execution_count=3,
                metadata={"id": "x"},
                outputs=[
                    nbformat.v4.new_output("stream", text="2"),
                    nbformat.v4.new_output(
                        "execute_result", {"text/plain": "<Figure>", "image/png": "aa"}
                    ),
                ],
            ),
            nbformat.v4.new_markdown_cell("# Title"),
        ],
    )
    strip = load_strip().strip
    stripped = strip(nbformat.writes(notebook))
    assert strip(stripped) == stripped
    first, second = nbformat.reads(stripped, as_version=4).cells
    assert (first.source, first.id, second.id) == ("1 + 1", "cell-1", "cell-2")
    assert not first.metadata and first.execution_count is None
    assert [output.data for output in first.outputs] == [{"image/png": "aa"}]
    assert "colab" not in stripped


@notebooks
def test_begins_with_a_title_and_the_installation(path):
    notebook = read(path)
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")
    installs = code_cells(notebook)[0].source
    assert "%pip install" in installs and "REQUIREMENT = " in installs
    assert installs == code_cells(read(NOTEBOOKS[0]))[0].source


@notebooks
def test_checks_what_it_claims(path):
    sources = [cell.source for cell in read(path).cells]
    claims = sum("**Expect**" in source for source in sources)
    assert claims >= 3
    checks = sum("assert " in s or "np.testing." in s for s in sources)
    assert checks >= claims


@pytest.mark.skipif(not X64, reason="a notebook sets its own precision: run once")
@notebooks
def test_runs_from_top_to_bottom_and_ends_with_a_plot(path, tmp_path, monkeypatch):
    # Of the checkout under test, whatever is installed; the folder is not that of the
    # notebook, so that nothing is written into the repository.
    monkeypatch.setenv("PYTHONPATH", str(_REPOSITORY))
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    notebook = read(path)
    client = nbclient.NotebookClient(
        notebook,
        timeout=_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    outputs = code_cells(notebook)[-1].outputs
    assert any("image/png" in output.get("data", {}) for output in outputs)
