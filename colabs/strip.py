"""Stores notebooks by one habit: pictures kept, all else that running leaves removed.

    python colabs/strip.py [--run] [NOTEBOOK.ipynb ...]

rewrites the notebooks given, or all beside this file, so that a difference between two
versions is a difference in what somebody wrote or in what is seen. With --run they are
run first, from top to bottom, which draws their pictures anew. tests/test_colabs.py
asks for it.
"""

import base64
import io
import pathlib
import sys
import tempfile
import tomllib

import nbformat

_FOLDER = pathlib.Path(__file__).resolve().parent
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
_LINK = "[Open in Colab]("
# Where the links lead until pyproject.toml has a Repository among its project.urls.
_PLACEHOLDER = "https://github.com/OWNER/gfa_jax"


def colab_link(name: str) -> str:
    """Returns the address at which Colab opens a notebook of the repository."""
    project = tomllib.loads((_FOLDER.parent / "pyproject.toml").read_text())["project"]
    repository = project["urls"].get("Repository", _PLACEHOLDER)
    path = repository.removeprefix("https://github.com/").strip("/")
    return f"https://colab.research.google.com/github/{path}/blob/main/colabs/{name}"


def strip(text: str, *, name: str | None = None) -> str:
    """Removes from a notebook what running or viewing it leaves behind.

    Args:
        text: the notebook, JSON.
        name: of its file, for the link to Colab under its title; None for no link.

    Returns:
        The notebook with numbered cell ids, of its outputs only the pictures, without
        execution counts and the metadata of cells and editors.
    """
    notebook = nbformat.reads(text, as_version=4)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict({"kernelspec": _KERNEL})
    for number, cell in enumerate(notebook.cells, start=1):
        cell.id = f"cell-{number}"
        cell.metadata = nbformat.from_dict({})
        if cell.cell_type == "code":
            pictures = [out.get("data", {}).get("image/png") for out in cell.outputs]
            cell.outputs = [
                nbformat.v4.new_output("display_data", {"image/png": picture})
                for picture in pictures
                if picture
            ]
            cell.execution_count = None
    if name is not None:
        title, *rest = notebook.cells[0].source.splitlines()
        rest = [line for line in rest if not line.startswith(_LINK)]
        about = "\n".join(rest).strip()
        notebook.cells[0].source = f"{title}\n\n{_LINK}{colab_link(name)})\n\n{about}"
    return nbformat.writes(notebook) + "\n"


def run(text: str) -> str:
    """Runs a notebook in a folder of its own and returns it with its outputs."""
    import nbclient

    notebook = nbformat.reads(text, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = _small(output.data["image/png"])
    return nbformat.writes(notebook)


def _small(picture: str) -> str:
    """Draws a picture, base64 of a PNG, with 64 colours, a third of the size."""
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        drawn = image.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    stream = io.BytesIO()
    drawn.save(stream, format="PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode()


def main(arguments: list[str]) -> None:
    """Rewrites the notebooks that are not stored as they should be."""
    paths = [pathlib.Path(each) for each in arguments if each != "--run"]
    for path in paths or sorted(_FOLDER.glob("*.ipynb")):
        text = path.read_text(encoding="utf-8")
        found = strip(run(text) if "--run" in arguments else text, name=path.name)
        if found != text:
            path.write_text(found, encoding="utf-8")
            print(f"rewrote {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
