"""Clusters of rows on disk, of several processes, are those of memory."""

import jax
import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import datasets
from gfa_jax.clustering.clusters import measure
from gfa_jax.streaming import clustering
from gfa_jax.streaming import workspace as workspaces
from gfa_jax.streaming.workspace import Workspace
from tests.streaming import teams


@pytest.fixture(scope="module")
def pool():
    with jax.enable_x64(False):
        rows = datasets.synthetic_features(num_rows=2600, dim=16, seed=1).features
        indices = np.array(gfa.exact_neighbors(rows, k=16).indices)
        indices[7, 9:] = -1
        return rows, indices


@pytest.mark.parametrize("size", [1, 3, 6])
@pytest.mark.parametrize(
    ("method", "threshold", "in_views"),
    [
        ("persistent", None, True),
        ("components", 0.9, True),
        ("components", 0.8, False),
        ("average", 0.7, True),
    ],
)
def test_they_equal_those_of_memory(
    pool, tmp_path, monkeypatch, size, method, threshold, in_views
):
    rows, indices = pool
    monkeypatch.setattr(workspaces, "_CHUNK_BYTES", 1)  # chunks of 1,024 rows
    monkeypatch.setattr(clustering, "_BATCH_ROWS", 256)
    form = {"method": method, "threshold": threshold, "min_size": 2}

    def work(workspace):
        with jax.enable_x64(False):
            options = form | {"workspace": workspace, "in_views": in_views}
            return clustering.cluster(rows, indices, **options)

    with jax.enable_x64(False):
        neighbors = gfa.Neighbors(indices, np.zeros(indices.shape, np.float32))
        views = measure(rows, None)[0] if in_views and threshold else rows
        want = gfa.cluster(views, neighbors, **form)
    assert 20 < want.num_clusters < 2000
    for found in teams.run(tmp_path, size, work):
        np.testing.assert_array_equal(found.labels, want.labels)
        np.testing.assert_array_equal(found.sizes, want.sizes)
        np.testing.assert_allclose(found.confidence, want.confidence, atol=2e-6)


def test_other_methods_are_refused(pool, tmp_path):
    workspace = Workspace(tmp_path, "0" * 64)
    with pytest.raises(ValueError, match="method is 'leiden'; expected persistent"):
        clustering.cluster(*pool, workspace=workspace, method="leiden")
