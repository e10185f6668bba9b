"""What the site takes from where it is kept: pages, notebooks, flags, public names.

Files of the repository keep their paths on the site, so that a link that leads
somewhere in a checkout leads to the same page here.
"""

import importlib
import inspect
import os
import pathlib
import pkgutil
import re
import textwrap
from html import unescape

import latex2mathml.converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from gfa_jax import types
from gfa_jax.programs import flags
from gfa_jax.programs import main as programs

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
_KEPT = (
    "README.md",
    "LICENSE",
    "experiments/*.md",
    "experiments/figures/*.png",
    "gfa_jax/CHANGELOG.md",
    "gfa_jax/CITATION.cff",
)
_NAMES = (
    "In all examples `gfa` is this package, `np` NumPy, and `datasets` and `metrics` "
    "are modules of the package; `features`, [300, 32], and their `labels` are "
    "`datasets.synthetic_features(num_rows=300, dim=32, seed=1)[:2]`."
)
_LINK = re.compile(r"(\]\(|^\[\w+\]: )([^)\s]+)", re.MULTILINE)
_REMOTE = re.compile(
    r'<(?:script|img|iframe|source)\b[^>]*\bsrc="(?:https?:)?//[^"]*"'
    r'|<link\b[^>]*\bhref="(?:https?:)?//[^"]*"|@import|url\(["\']?https?://[^)]*'
)
_MATH = re.compile(
    r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL
)


def on_config(config: MkDocsConfig) -> None:
    """Adds the notebooks and the reference to the navigation."""
    notebooks = sorted(REPOSITORY.glob("colabs/*.ipynb"))
    config.nav.append({"Notebooks": [f"colabs/{path.name}" for path in notebooks]})
    config.nav.append({"Reference": [_page(m) for m in public_modules()]})


@event_priority(100)  # before the notebooks are looked for
def on_files(files: Files, config: MkDocsConfig) -> None:
    """Adds what lies elsewhere in the repository and what is made here."""
    kept = [path for pattern in _KEPT for path in REPOSITORY.glob(pattern)]
    for path in [*kept, *REPOSITORY.glob("colabs/*.ipynb")]:
        name = path.relative_to(REPOSITORY).as_posix()
        files.append(
            File(name, str(REPOSITORY), config.site_dir, config.use_directory_urls)
        )
    made = {_page(name): reference(name) for name in public_modules()}
    made["command_line.md"] = command_line()
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))


def on_page_markdown(
    markdown: str, *, page: Page, config: MkDocsConfig, files: Files
) -> str:
    """Turns links between files of the repository into links between pages."""
    source = page.file.abs_src_path
    if source is None:
        return markdown
    pages = {f.abs_src_path: f.src_uri for f in files if f.abs_src_path}

    def relink(match: re.Match[str]) -> str:
        path, mark, anchor = match[2].partition("#")
        target = os.path.normpath(pathlib.Path(source).parent / path)
        if not path or target not in pages:
            return match[0]
        here = pathlib.PurePosixPath(page.file.src_uri).parent
        return match[1] + os.path.relpath(pages[target], here) + mark + anchor

    return _LINK.sub(relink, markdown)


def on_page_content(html: str, **_: object) -> str:
    """Writes equations as MathML, which a browser shows without a script."""

    def to_mathml(match: re.Match[str]) -> str:
        display = "block" if match[1] == "div" else "inline"
        return latex2mathml.converter.convert(unescape(match[2]), display=display)

    return _MATH.sub(to_mathml, html)


def on_post_page(html: str, *, page: Page, **_: object) -> None:
    """Refuses a page that would fetch something from elsewhere."""
    if remote := _REMOTE.search(html):
        raise PluginError(f"{page.file.src_uri} fetches from elsewhere: {remote[0]}")


def public_modules() -> list[str]:
    """Lists gfa_jax and those of its modules that name what is public."""
    package = importlib.import_module("gfa_jax")
    found = pkgutil.iter_modules(package.__path__, "gfa_jax.")
    names = ["gfa_jax", *(m.name for m in found if "._" not in m.name)]
    return [n for n in names if hasattr(importlib.import_module(n), "__all__")]


def reference(module_name: str) -> str:
    """Writes the page of a module: its idea and its public names.

    The front of the package is a list of links, as each of its names has a home.
    """
    module = importlib.import_module(module_name)
    lines = [f"# {module_name}", "", inspect.getdoc(module) or "", ""]
    if module_name == "gfa_jax":
        lines += [_NAMES, ""]
        lines += [
            f"- [`gfa.{name}`]{_home(name)}: {_summary(getattr(module, name))}"
            for name in (*module.__all__, "Refiner")
        ]
        return "\n".join(lines)
    names = [f"{module_name}.{name}" for name in module.__all__]
    if module_name == "gfa_jax.refinement":
        names.append("gfa_jax.refinement.estimator.Refiner")
    for name in names:
        lines += [f"::: {name}", ""]
        value = getattr(module, name.rpartition(".")[2], type)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            lines[-1:] = ["    options: {show_if_no_docstring: true}", ""]
    return "\n".join(lines)


def command_line() -> str:
    """Writes what `--help` and `--help=all` print, program by program."""
    lines = [
        "# Command line",
        "",
        "What `gfa PROGRAM --help` and `--help=all` print, by program. A flag is given",
        "as `--name=value`, a switch as `--name` or `--noname`.",
        "",
    ]
    for name in programs.PROGRAMS:
        program = importlib.import_module(f"gfa_jax.programs.{name}")
        everyday, everything = (
            flags.describe(program, everything=everything)
            for everything in (False, True)
        )
        lines += [f"## gfa {name}", "", "```text", everyday, "```", ""]
        if everything != everyday:
            lines += [f'??? note "gfa {name} --help=all"', "", "    ```text"]
            lines += [textwrap.indent(everything, "    "), "    ```", ""]
    return "\n".join(lines)


def _page(module_name: str) -> str:
    return f"reference/{module_name}.md"


def _home(name: str) -> str:
    """Returns the link to where a name of the front of gfa_jax is described."""
    value = getattr(importlib.import_module("gfa_jax"), name)
    if inspect.ismodule(value):
        return f"({value.__name__}.md)"
    package = getattr(value, "__module__", "gfa_jax.types").split(".")[1]
    inner = ".estimator" if name == "Refiner" else ""
    return f"[gfa_jax.{package}{inner}.{name}]"


def _summary(value: object) -> str:
    if isinstance(value, types.Options):
        return "The paper as printed, as `Options`."
    return (inspect.getdoc(value) or "").partition("\n")[0]
