"""`gfa_jax.cluster` of rows and lists that stay on disk, by a team of processes.

    views ─► cosines of the candidates ─► components at the threshold ─► clusters of
    components, some at a time ─► numbers ─► confidence

Components of the surviving pairs never join, so each is clustered by itself, with the
same result, bit for bit. Each process scores its own rows and joins their pairs in a
forest of its own (clustering/forest.py); two forests become one, then two of those, and
so on. Then each clusters its own batches of components. A batch holds components of
some 100,000 rows, or a single larger one, which is then held as a whole: 4 D bytes a
row and about 50 bytes a pair.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from gfa_jax.clustering import forest
from gfa_jax.clustering.clusters import (
    BY_THRESHOLD,
    SAMPLE,
    Clusters,
    Method,
    number_clusters,
    reachable,
)
from gfa_jax.clustering.confidence import membership, sum_groups
from gfa_jax.clustering.linkage import join_pairs, unique_pairs
from gfa_jax.clustering.persistence import FLOOR, below_roots, choose_clusters
from gfa_jax.clustering.scores import score_candidates
from gfa_jax.selection import Evidence
from gfa_jax.selection.evidence import CONSTANTS
from gfa_jax.selection.metric import (
    draw_sample,
    measure_pool,
    measure_rows_in_blocks,
    pool_views,
)
from gfa_jax.streaming.aggregation import gather
from gfa_jax.streaming.workspace import Workspace, Writer, chunk_rows, release, take
from gfa_jax.types import track

# Rows of a batch of components.
_BATCH_ROWS = 2**17


def cluster(
    rows: Any,
    indices: np.ndarray,
    *,
    workspace: Workspace,
    method: Method,
    threshold: float | None = None,
    evidence: Evidence | None = None,
    in_views: bool = True,
    min_size: int = 1,
    progress: Callable | None = None,
) -> Clusters:
    """Clusters rows as `gfa_jax.cluster` does, by all processes of a workspace's team.

    Rows [N, D] and their candidates [N, K], checked, are memory maps, of which the
    workspace's key is a hash. The method is "persistent", or with a threshold
    "components" or "average": t_s is of the rows brought to the pool's own units where
    `in_views`, as those of "persistent" are. The clusters are the same in every
    process, those of `gfa_jax.cluster`, bit for bit where the products are. Another
    method, and what cannot be written, is a ValueError.

    Cost: that of `gfa_jax.cluster`, shared out but for the forests, log₂ P rounds of at
    most N joins, and the numbers, O(N log N) in every process. Memory: 256 MB a chunk,
    a batch, about 60 bytes a row. Disk: 8 D + 4 K + 4 P + 20 bytes a row.
    """
    if method not in ("persistent", *BY_THRESHOLD):
        raise ValueError(
            f"method is {method!r}; expected persistent, components or average for "
            "rows on disk"
        )
    num_rows, dim = rows.shape
    width, team = indices.shape[1], workspace.team
    size = chunk_rows(num_rows, width, dim)
    own = team.own(num_rows, grain=size)
    workspace = workspace.extend([method, threshold, in_views, size])

    def chunks(desc: str) -> Iterator[slice]:
        starts = range(own.start, own.stop, size)
        for start in track(progress, starts, desc=desc):
            yield slice(start, min(start + size, own.stop))
            release(indices)

    spread = center = 1.0
    if in_views:
        pool = measure_pool(rows[draw_sample(num_rows, SAMPLE)])

        def view(files: dict[str, Writer]) -> None:
            for chunk in chunks("views"):
                values = np.asarray(rows[chunk], np.float32)
                files["rows"](chunk.start, np.asarray(pool_views(values, pool)))
                release(rows)

        outline = {"rows": ((num_rows, dim), np.float32)}
        given, rows = rows, workspace.fill("views", outline, view)["rows"]
        if method == "persistent":
            if evidence is None:
                null = measure_rows_in_blocks(given, pool, block_size=2**14)
                spread, center = float(np.mean(null.spread)), CONSTANTS.posterior_center
            else:
                spread, center = evidence.spread, evidence.center
            threshold = FLOOR * spread
    assert threshold is not None
    threshold = reachable(threshold, np.dtype(np.float32))

    def score(files: dict[str, Writer]) -> None:
        for chunk in chunks("similarities"):
            part = gather(rows, indices, chunk.start, size)
            cosines = score_candidates(part.pool, jnp.asarray(part.indices))
            files["similarity"](chunk.start, cosines[: part.count])
            release(rows)

    outline = {"similarity": (indices.shape, np.float32)}
    similarity = workspace.fill("cosines", outline, score)["similarity"]

    def edges(chunk: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Reads lists and cosines of rows, and tells which are others."""
        lists, cosines = np.array(indices[chunk]), np.array(similarity[chunk])
        for array in (indices, similarity):
            release(array)
        numbers = np.arange(chunk.start, chunk.stop)[:, None]
        return lists, cosines, (lists >= 0) & (lists != numbers)

    def join_pairs_of_all(files: dict[str, Writer]) -> None:
        parent = forest.plant(num_rows)
        for chunk in chunks("components"):
            lists, cosines, is_other = edges(chunk)
            first, column = np.nonzero(is_other & (cosines >= threshold))
            forest.join(parent, first + chunk.start, lists[first, column])

        def hand_over(files: dict[str, Writer]) -> None:
            if team.number % (2 * step) == step:
                files["parent"](team.number // (2 * step) * num_rows, parent)

        # Two and two, so that no process joins the forests of all.
        step = 1
        while step < team.size:
            count = (team.size + step - 1) // (2 * step)
            outline = {"parent": ((count * num_rows,), parent.dtype)}
            stage = f"forest-{team.size}-{step}"
            others = workspace.fill(stage, outline, hand_over)["parent"]
            if team.number % (2 * step) == 0 and team.number + step < team.size:
                begin = team.number // (2 * step) * num_rows
                forest.join_forest(parent, others[begin : begin + num_rows])
            step *= 2
        if team.number == 0:
            forest.flatten(parent)
            files["root"](0, parent)

    outline = {"root": ((num_rows,), forest.parent_dtype(num_rows))}
    groups = np.array(workspace.fill("components", outline, join_pairs_of_all)["root"])
    table = None
    if method != "components":
        groups, table = _link(
            rows,
            groups,
            (indices, similarity),
            workspace=workspace,
            threshold=threshold,
            choose=lambda tree: (
                below_roots(tree)[0]
                if method == "average"
                else choose_clusters(tree, spread=spread, center=center)
            ),
            progress=progress,
        )
    numbers, sizes = number_clusters(groups)
    group_of = np.empty(len(sizes), groups.dtype)
    group_of[numbers] = groups
    del groups

    def read_sums(wanted: np.ndarray) -> np.ndarray:
        places = group_of[wanted]
        order = np.argsort(places)
        sums = np.empty((len(wanted), dim), np.float32)
        sums[order] = take(table, places[order])
        return sums

    def judge(files: dict[str, Writer]) -> None:
        for chunk in chunks("confidence"):
            lists, cosines, is_other = edges(chunk)
            own_rows = None if table is None else np.array(rows[chunk])
            options = {"first_row": chunk.start, "read_sums": read_sums}
            given = numbers, lists, is_other, cosines, own_rows
            files["value"](chunk.start, membership(*given, **options))
            release(rows)

    outline = {"value": ((num_rows,), np.float32)}
    confidence = workspace.fill("confidence", outline, judge)["value"]
    is_kept = sizes[numbers] >= min_size
    return Clusters(
        np.where(is_kept, numbers, np.int32(-1)),
        sizes[sizes >= min_size],
        np.where(is_kept, confidence, 0),
    )


def _link(
    rows: np.ndarray,
    roots: np.ndarray,
    edges: tuple[np.ndarray, np.ndarray],
    *,
    workspace: Workspace,
    threshold: float,
    choose: Callable,
    progress: Callable | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Clusters components: the group of each row, [N], and the sums of groups, [N, D].

    Batches are ranges of the rows ordered by their component; a group has the number of
    the place where its sum stands, the first ones of its batch.
    """
    num_rows, dim = rows.shape
    order = np.argsort(roots, kind="stable").astype(roots.dtype)
    begins = np.flatnonzero(np.diff(roots[order], prepend=-1))
    windows = np.searchsorted(begins, np.arange(0, num_rows, _BATCH_ROWS))
    cuts = np.unique(np.append(begins[windows[windows < len(begins)]], num_rows))
    batches = [slice(*ends) for ends in np.stack([cuts[:-1], cuts[1:]], 1).tolist()]
    for batch in batches:
        order[batch].sort()
    team = workspace.team

    def link(files: dict[str, Writer]) -> None:
        mine = batches[team.number :: team.size]
        for batch in track(progress, mine, desc="clusters"):
            members = order[batch]
            lists, cosines = (take(array, members) for array in edges)
            pairs = _pairs_of(members, lists, cosines, threshold)
            nodes = choose(join_pairs(take(rows, members), pairs, threshold))
            groups = np.unique(nodes, return_inverse=True)[1].reshape(-1)
            files["group"](batch.start, batch.start + groups)
            files["sums"](batch.start, sum_groups(take(rows, members), groups))

    outlines: dict[str, Any] = {
        "group": ((num_rows,), roots.dtype),
        "sums": ((num_rows, dim), np.float32),
    }
    linked = workspace.fill("linked", outlines, link)
    groups = np.empty(num_rows, roots.dtype)
    groups[order] = linked["group"]
    return groups, linked["sums"]


def _pairs_of(members, lists, cosines, threshold: float) -> Any:
    """Lists the pairs of a batch that survive, its rows numbered from 0 on."""
    survives = (lists >= 0) & (lists != members[:, None]) & (cosines >= threshold)
    for start in range(0, len(lists), _BATCH_ROWS):
        part = slice(start, start + _BATCH_ROWS)
        inside = np.where(survives[part], lists[part], members[:1])
        lists[part] = np.searchsorted(members, inside)
    return unique_pairs(lists, cosines, survives)
