"""Clusterers to compare, ours and what a user would pick instead, with one signature.

A new one is a file here with `SPACE` and `cluster`, and a line in `CLUSTERERS`.
"""

from experiments.studies.clusterers import (
    components,
    dbscan,
    hdbscan,
    infomap,
    kmeans,
    rank_order,
    refined,
    whispers,
)
from experiments.studies.clusterers.problem import Clusterer, Problem
from experiments.studies.clusterers.tables import ABLATIONS, OURS

CLUSTERERS: dict[str, Clusterer] = {
    each.name: each
    for each in (
        Clusterer("kmeans", kmeans.cluster, kmeans.SPACE),
        Clusterer("dbscan", dbscan.cluster, dbscan.SPACE),
        Clusterer("hdbscan", hdbscan.cluster, hdbscan.SPACE),
        Clusterer("rank_order", rank_order.cluster, rank_order.SPACE),
        Clusterer("whispers", whispers.cluster, whispers.SPACE),
        Clusterer("components", components.cluster, components.SPACE),
        Clusterer("infomap", infomap.cluster, infomap.SPACE),
        Clusterer("average_raw", refined.average_raw, refined.RAW_SPACE),
        Clusterer("components_refined", refined.components, refined.SPACE),
        Clusterer("infomap_refined", refined.infomap_refined, refined.SPACE),
        Clusterer(OURS, refined.average, refined.SPACE),
        Clusterer("default", refined.default, {}),
    )
}

__all__ = ["ABLATIONS", "CLUSTERERS", "OURS", "Clusterer", "Problem"]
