"""The figure of a table: each panel under its own name, none drawn twice."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from experiments.paper import tables
from experiments.paper.grid import Setting
from gfa_jax import metrics
from tests.plotting.reading import axes_of, legend_of


def row(setting) -> Any:
    scores = np.linspace(0, 1, 400)
    roc = metrics.roc_curve(scores, scores > 0.8)
    return SimpleNamespace(setting=setting, verification=SimpleNamespace(roc=roc))


@pytest.mark.parametrize(
    ("cells", "named"),
    [
        ([(5, 0.5), (9, 0.5), (5, 0.7)], ["K varied", "t varied"]),
        ([(5, 0.5), (9, 0.5)], ["K varied"]),
        ([(5, 0.5)], ["K varied"]),
    ],
)
def test_a_panel_is_named_by_what_is_varied(cells, named):
    task: Any = SimpleNamespace(
        table=SimpleNamespace(source="Tab. 3"), pool=SimpleNamespace(name="faces.npz")
    )
    settings = [Setting("paper", *cell) for cell in cells]
    figure = tables.draw(task, [row(None), *map(row, settings)])
    assert figure.get_suptitle() == "Tab. 3: faces.npz"
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [f"ROC, preset paper: {varied}" for varied in named]
    first = axes_of(figure)[0]
    assert legend_of(first) == ["raw", *(f"K={k}, t=0.5" for k, t in cells if t == 0.5)]
