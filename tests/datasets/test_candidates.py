import numpy as np
import pytest

from gfa_jax import datasets
from gfa_jax.datasets import candidates

IDS = np.array([[0, 2, 1], [1, 0, -1], [2, -1, -1], [1, 0, 2]])
DISTANCES = np.array(
    [[0, 0.25, 0.5], [0, 0.5, -1], [0, -1, -1], [0.25, 0.75, 2]], np.float32
)


def save(tmp_path, ids=IDS, distances=DISTANCES, compressed=False):
    path = tmp_path / "faiss_k_3.npz"
    writer = np.savez_compressed if compressed else np.savez
    writer(path, data=np.stack([ids, distances], axis=1).astype(np.float32))
    return path


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("block", [1, 3, 100])
def test_learn_to_cluster(tmp_path, monkeypatch, compressed, block):
    monkeypatch.setattr(candidates, "_BLOCK_ROWS", block)
    path = save(tmp_path, compressed=compressed)
    indices, similarity = datasets.read_candidates(path, num_rows=4)
    assert indices.dtype == np.int32
    assert similarity.dtype == np.float32
    expected = np.where(IDS < 0, -np.inf, 1 - DISTANCES)
    np.testing.assert_array_equal(indices, IDS)
    np.testing.assert_array_equal(similarity, expected)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.int8, np.float32])
def test_row_numbers_alone(tmp_path, dtype):
    np.save(tmp_path / "a.npy", IDS.astype(dtype))
    indices, similarity = datasets.read_candidates(tmp_path / "a.npy", num_rows=4)
    np.testing.assert_array_equal(indices, IDS)
    expected = np.where(IDS < 0, -np.inf, np.nan)
    np.testing.assert_array_equal(similarity, expected)


def test_a_repeat_counts_once(tmp_path):
    ids = [[3, 1, 3, 3, 1], [0, 1, -1, -1, 2], [2, 2, 2, 2, 2], [0, 1, 2, 3, 0]]
    distances = np.tile(np.linspace(0, 1, 5, dtype=np.float32), (4, 1))
    path = save(tmp_path, np.array(ids), distances)
    indices, similarity = datasets.read_candidates(path, num_rows=4)
    expected = [
        [3, 1, -1, -1, -1],
        [0, 1, 2, -1, -1],
        [2, -1, -1, -1, -1],
        [0, 1, 2, 3, -1],
    ]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(np.isneginf(similarity), np.less(expected, 0))


def test_the_nearest_come_first_in_whatever_order_they_lie(tmp_path):
    ids = np.array([[3, 1, 2, -1], [-1, 0, 2, 0], [0, 1, 3, 2], [1, 2, 0, -1]])
    distances = np.array(
        [[0.9, 0.5, 0.1, 0], [0, 0.4, 0.2, 0.1], [0.3, 0.3, 0.3, 0.3], [1, 0.5, 0, 0]]
    )
    path = save(tmp_path, ids, distances)
    indices, similarity = datasets.read_candidates(path, num_rows=4)
    expected = [[2, 1, 3, -1], [2, 0, -1, -1], [0, 1, 3, 2], [0, 2, 1, -1]]
    np.testing.assert_array_equal(indices, expected)
    assert (similarity[:, 1:] <= similarity[:, :-1]).all()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (4, r"row 3 holds 4\.?0?, expected a row number in \[0, 4\) or -1"),
        (-2, "row 3 holds -2"),
        (0.5, r"row 3 holds 0\.5, expected whole numbers"),
        (np.nan, "row 3 holds nan, expected whole numbers"),
    ],
)
@pytest.mark.parametrize("block", [1, 3, 100])
def test_bad_row_numbers(tmp_path, monkeypatch, value, message, block):
    monkeypatch.setattr(candidates, "_BLOCK_ROWS", block)
    ids = IDS.astype(np.float32)
    ids[3, 1] = value
    np.save(tmp_path / "a.npy", ids)
    for path in (save(tmp_path, ids), tmp_path / "a.npy"):
        with pytest.raises(ValueError, match=message):
            datasets.read_candidates(path, num_rows=4)


@pytest.mark.parametrize("value", [-0.5, 2.5, np.nan, np.inf])
def test_bad_distances(tmp_path, value):
    distances = DISTANCES.copy()
    distances[1, 1] = value
    with pytest.raises(ValueError, match=f"row 1 holds {value}, expected a distance"):
        datasets.read_candidates(save(tmp_path, distances=distances), num_rows=4)


def test_another_number_of_rows(tmp_path):
    with pytest.raises(ValueError, match="candidates of 4 rows, expected 5"):
        datasets.read_candidates(save(tmp_path), num_rows=5)


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 2), (4, 2, 0), (4, 2, 3, 1)])
def test_other_shapes(tmp_path, shape):
    np.savez(tmp_path / "a.npz", data=np.zeros(shape))
    with pytest.raises(ValueError, match=r"expected \[N, 2, K\]"):
        datasets.read_candidates(tmp_path / "a.npz", num_rows=4)
    if len(shape) != 2:
        np.save(tmp_path / "a.npy", np.zeros(shape))
        with pytest.raises(ValueError, match=r"expected \[N, K\]"):
            datasets.read_candidates(tmp_path / "a.npy", num_rows=4)


def test_no_candidate_at_all(tmp_path):
    np.save(tmp_path / "a.npy", np.full((3, 2), -1))
    with pytest.raises(ValueError, match="every slot is -1"):
        datasets.read_candidates(tmp_path / "a.npy", num_rows=3)
