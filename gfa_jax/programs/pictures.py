"""The pictures of a run: summary.png, and with --plots=all each of its panels too.

Importing this module defines the flag.
"""

import pathlib
from collections.abc import Mapping

from gfa_jax import plotting
from gfa_jax.programs import flags

flags.DEFINE_level(
    "plots",
    ["summary", "all", "none"],
    "Pictures: summary, all or none. all: each panel of the summary by itself too.",
)
SUMMARY = "summary.png"


def save(
    folder: pathlib.Path, panels: Mapping[str, plotting.Panel], *, title: str
) -> None:
    """Writes the pictures that are asked for; a panel is a function of axes."""
    wanted = flags.FLAGS.plots
    drawn = {} if wanted == "none" else {SUMMARY: [*panels.values()]}
    if wanted == "all":
        drawn |= {f"{name}.png": [panel] for name, panel in panels.items()}
    for name, some in drawn.items():
        plotting.join(some, title=title).savefig(folder / name)
