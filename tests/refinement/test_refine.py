"""`gfa.refine`: the bits of the program, any array in and the same kind out."""

import sys
import types

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import scipy.sparse

import gfa_jax as gfa
from gfa_jax import aggregation, datasets
from tests.problems import refused
from tests.programs.programs import succeed

SAMPLE = datasets.synthetic_features(num_rows=600, dim=32, seed=3)
ROWS = 3 * SAMPLE.features
SEARCHED = gfa.exact_neighbors(SAMPLE.features, k=gfa.selection.WIDTH)


@pytest.fixture(scope="module")
def refined():
    return gfa.refine(ROWS, cluster=True)


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ((), {}),
        (
            ("--k=4", "--gamma=0.25", "--num_steps=2"),
            {"k": 4, "gamma": 0.25, "num_steps": 2},
        ),
        (("--preset=paper",), {"options": gfa.PAPER}),
        (("--threshold=0.4", "--k=5"), {"threshold": 0.4, "k": 5}),
    ],
)
def test_it_gives_the_bits_of_the_program(tmp_path, flags, options):
    np.save(tmp_path / "x.npy", ROWS)
    given = f"--features={tmp_path}/x.npy", f"--output_dir={tmp_path}/out", *flags
    succeed("refine", *given, "--noplots")
    with jax.enable_x64(False):
        result = gfa.refine(ROWS, **options)
    stored = np.load(tmp_path / "out" / "refined.npy")
    np.testing.assert_array_equal(result.features, stored)
    stored = np.load(tmp_path / "out" / "dropped.npy")
    np.testing.assert_array_equal(result.dropped, stored)


def test_an_accelerator_scores_no_candidate_twice(monkeypatch):
    expected = gfa.refine(ROWS, threshold=0.4)
    monkeypatch.setattr("gfa_jax.refinement.pool.is_host", lambda _: False)
    score = aggregation._score
    monkeypatch.setattr(aggregation, "_score", None)
    result = gfa.refine(ROWS, threshold=0.4)
    np.testing.assert_allclose(result.features, expected.features, atol=1e-6)
    np.testing.assert_array_equal(result.degree, expected.degree)
    # Here an edge may count that weighs 0.
    monkeypatch.setattr(aggregation, "_score", score)
    assert gfa.refine(ROWS, threshold=-1.0).degree.min() == 15


def test_its_labels_are_those_of_the_program(tmp_path):
    np.save(tmp_path / "x.npy", ROWS)
    given = f"--features={tmp_path}/x.npy", f"--output_dir={tmp_path}/out"
    succeed("cluster", *given)
    with jax.enable_x64(False):
        result = gfa.refine(ROWS, cluster=True)
    np.testing.assert_array_equal(result.labels, np.load(tmp_path / "out/labels.npy"))


def test_a_person_reads_what_was_done(refined):
    lines = repr(refined).splitlines()
    assert lines[0] == "refined: 600 rows of 32 values"
    assert f"K = {refined.settings.k} (the row itself counted), T = " in lines[1]
    assert lines[3] == f"rows dropped: {refined.dropped.sum()}"
    assert lines[4].startswith(f"clusters: {refined.labels.max() + 1}, the largest of ")
    said = f"Clusters({refined.labels.max() + 1} of 600 rows, the largest of "
    assert repr(refined.clusters).startswith(said)
    assert gfa.refine(ROWS, num_steps=0).labels is None


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("f8", 0), (">f4", 0), ("f2", 5e-3), (ml_dtypes.bfloat16, 3e-2), ("i2", 5e-3)],
)
def test_any_number_is_computed_in_float32(dtype, tolerance):
    scale = 1000 if dtype == "i2" else 1
    given = (scale * ROWS).astype(dtype)
    # What is held to the raw rows is not moved by the edges that rounding flips.
    result = gfa.refine(given, threshold=0.4, num_steps=1, gamma=0.0)
    assert result.features.dtype == np.float32
    np.testing.assert_allclose(result.features, SAMPLE.features, atol=tolerance + 1e-6)


def test_the_kind_that_comes_in_goes_out(refined):
    given = jnp.asarray(ROWS)
    result = gfa.refine(given).features
    assert isinstance(result, jax.Array)
    np.testing.assert_array_equal(np.asarray(result), refined.features)
    for plain in (ROWS, ROWS.tolist()):
        result = gfa.refine(plain).features
        assert type(result) is np.ndarray
        result[0] = 0  # nobody else has it
    frozen = ROWS.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(gfa.refine(frozen).features, refined.features)


class Foreign:
    """An array of a library that NumPy does not know, with DLPack."""

    def __init__(self, array):
        self.array = np.asarray(array)

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Got unsupported ScalarType")

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_an_array_of_another_library_is_handed_over_by_dlpack(refined, monkeypatch):
    library = types.SimpleNamespace(asarray=Foreign)
    monkeypatch.setattr(Foreign, "__module__", "foreign.arrays")
    monkeypatch.setitem(sys.modules, "foreign", library)
    result = gfa.refine(Foreign(ROWS)).features
    assert isinstance(result, Foreign)
    np.testing.assert_array_equal(result.array, refined.features)


def test_torch_tensors_stay_tensors(refined):
    torch = pytest.importorskip("torch", reason="torch is large; tried by hand")
    for given in (torch.tensor(ROWS), torch.nn.Parameter(torch.tensor(ROWS))):
        result = gfa.refine(given).features
        assert type(result) is torch.Tensor and result.device == given.device
        np.testing.assert_array_equal(result.numpy(), refined.features)
    assert gfa.refine(torch.tensor(ROWS).bfloat16()).features.dtype == torch.float32


def test_frames_keep_their_index(refined):
    pandas = pytest.importorskip("pandas")
    names = [f"image {n}" for n in range(len(ROWS))]
    result = gfa.refine(pandas.DataFrame(ROWS, index=names)).features
    assert list(result.index) == names
    np.testing.assert_array_equal(result.to_numpy(), refined.features)


def graph(others, values):
    rows = np.repeat(np.arange(len(others)), others.shape[1])
    return scipy.sparse.csr_array(
        (values.ravel(), (rows, others.ravel())), shape=(len(others),) * 2
    )


@pytest.mark.parametrize(
    "form",
    [
        "Neighbors",
        "Neighbors, itself left out",
        "indices, distances",
        "distances, indices",
        "indices, itself first, twice",
        "graph of distances",
        "graph of ones",
        "search index beside them",
    ],
)
def test_neighbors_are_taken_as_others_hand_them(refined, form):
    indices, cosines = map(np.asarray, SEARCHED)
    others, distances = indices[:, 1:], 1 - cosines[:, 1:]
    given = {
        "Neighbors": SEARCHED,
        "Neighbors, itself left out": gfa.Neighbors(others, cosines[:, 1:]),
        "indices, distances": (others, distances),
        "distances, indices": (distances, others),
        "indices, itself first, twice": np.hstack([indices, indices[:, ::-1]]),
        "graph of distances": graph(others, distances),
        "graph of ones": graph(indices, np.ones(indices.shape)).tocoo(),
        "search index beside them": (others.astype(np.int64), distances, object()),
    }
    result = gfa.refine(ROWS, neighbors=given[form])
    np.testing.assert_array_equal(result.neighbors.indices, indices)
    np.testing.assert_allclose(result.features, refined.features, atol=1e-6)


def test_few_neighbors_and_empty_slots_are_enough():
    others = np.asarray(SEARCHED.indices)[:, 1:9].copy()
    others[::3, 5:] = -1
    result = gfa.refine(ROWS, neighbors=others)
    assert result.neighbors.indices.shape == (600, 9)
    assert np.all(np.asarray(result.neighbors.indices)[::3, 6:] == -1)
    assert np.isfinite(result.features).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 5.0}, "k is 5.0; expected a whole number"),
        ({"k": 600}, "k is 600 with 600 rows"),
        ({"num_steps": -1}, "num_steps is -1"),
        ({"threshold": 2}, "threshold is 2"),
        ({"options": "paper"}, "expected gfa_jax.PAPER"),
        ({"features": ROWS[0]}, "got 1 dimensions"),
        ({"features": ROWS[:1]}, "got 1 rows, expected at least 2"),
        ({"features": [["a", "b"], ["c", "d"]]}, "got dtype <U1"),
        ({"features": [[1, 2], [3]]}, r"expected numbers \[N, D\]"),
        ({"features": ROWS > 0}, "got dtype bool"),
        ({"features": ROWS * np.nan}, "600 of 600 rows hold NaN"),
        ({"features": ROWS * 0}, "600 of 600 rows are zero"),
        ({"features": "x.npy"}, "the path 'x.npy'; expected rows: gfa_jax.datasets"),
        ({"features": scipy.sparse.eye_array(5)}, "a sparse matrix"),
        ({"neighbors": (ROWS, ROWS)}, "expected one array of integers"),
        ({"neighbors": np.zeros((5, 3), int)}, "neighbors are of 5 rows; expected 600"),
        ({"neighbors": np.full((600, 3), 600)}, r"span \[0, 600\]"),
        ({"neighbors": np.full((600, 3), -1)}, "no row beside the row itself"),
        ({"neighbors": 3}, "expected one array of integers"),
    ],
)
def test_bad_input_is_refused_in_one_line(change, message):
    refused(message, gfa.refine, **{"features": ROWS} | change)


def test_traced_features_are_refused():
    with pytest.raises(ValueError, match="under jit, grad or vmap use aggregate"):
        jax.jit(lambda rows: gfa.refine(rows).features)(ROWS)
