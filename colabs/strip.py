"""Stores notebooks by one habit: no outputs, no counts, nothing that changes by itself.

    python colabs/strip.py [NOTEBOOK.ipynb ...]

rewrites the notebooks given, or all beside this file, so that a difference between two
versions is a difference in what somebody wrote. tests/test_colabs.py asks for it.
"""

import pathlib
import sys

import nbformat

_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def strip(text: str) -> str:
    """Removes from a notebook what running or viewing it leaves behind.

    Args:
        text: the notebook, JSON.

    Returns:
        The notebook with numbered cell ids, without outputs, execution counts and
        the metadata of cells and editors.
    """
    notebook = nbformat.reads(text, as_version=4)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict({"kernelspec": _KERNEL})
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{number}"
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nbformat.writes(notebook) + "\n"


def main(paths: list[str]) -> None:
    """Rewrites the notebooks that are not stored as they should be."""
    folder = pathlib.Path(__file__).parent
    for path in map(pathlib.Path, paths or sorted(folder.glob("*.ipynb"))):
        text = path.read_text(encoding="utf-8")
        if strip(text) != text:
            path.write_text(strip(text), encoding="utf-8")
            print(f"stripped {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
