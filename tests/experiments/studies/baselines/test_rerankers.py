"""The re-ranking baselines against their papers' formulas, dense and in float64."""

from typing import Any

import numpy as np
import pytest

from experiments.studies import baselines
from experiments.studies.baselines import reciprocal
from tests import oracle

# Sums in another order, in float64.
_TOLERANCE = 1e-12


@pytest.fixture
def problem(rng) -> Any:
    centers = rng.standard_normal((6, 7))
    rows = centers[rng.integers(6, size=40)] + 0.5 * rng.standard_normal((40, 7))
    features = oracle.unit_rows(rows)
    return features, oracle.exact_neighbors(features, 16)


def every_pair(scores: baselines.PairScores) -> np.ndarray:
    """[N, N] scores, asked for pair by pair; nan on the diagonal."""
    num_rows = len(scores.features)
    rows, columns = np.nonzero(~np.eye(num_rows, dtype=bool))
    whole = np.full((num_rows, num_rows), np.nan)
    whole[rows, columns] = scores(rows, columns)
    return whole


def off_diagonal(whole: np.ndarray) -> np.ndarray:
    return np.where(np.eye(len(whole), dtype=bool), np.nan, whole)


def k_reciprocal_by_the_paper(F, k1, k2, share, *, normalize):
    """Eq. 3 to 12 with Python sets and whole matrices."""
    A = F @ F.T
    N = len(F)
    order = [list(np.argsort(-a, kind="stable")) for a in A]

    def mutual(p, k):
        return {q for q in order[p][:k] if p in order[q][:k]}

    V = np.zeros((N, N))
    for p in range(N):
        members = set(mutual(p, k1))
        for q in mutual(p, k1):
            other = mutual(q, max(1, round(k1 / 2)))
            if len(mutual(p, k1) & other) >= 2 / 3 * len(other) - 1e-9:
                members |= other
        for q in members:
            V[p, q] = np.exp(-np.sum((F[p] - F[q]) ** 2))
        if normalize:
            V[p] /= V[p].sum()
    V = np.stack([V[order[p][:k2]].mean(axis=0) for p in range(N)])
    J = np.array(
        [[np.minimum(a, b).sum() / np.maximum(a, b).sum() for b in V] for a in V]
    )
    return (1 - share) * J + share * A


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(("k1", "k2"), [(10, 4), (7, 1), (16, 6)])
def test_k_reciprocal_is_the_paper(problem, k1, k2, normalize, monkeypatch):
    features, neighbors = problem
    monkeypatch.setattr(reciprocal, "_CHUNK", 300)  # many blocks of rows
    scores = baselines.k_reciprocal(
        features, neighbors, k1=k1, k2=k2, cosine_share=0.3, normalize=normalize
    )
    want = k_reciprocal_by_the_paper(features, k1, k2, 0.3, normalize=normalize)
    np.testing.assert_allclose(
        every_pair(scores), off_diagonal(want), rtol=0, atol=_TOLERANCE
    )


def test_k_reciprocal_keeps_the_largest_scores_of_a_row(problem):
    features, neighbors = problem
    whole, cut = (
        baselines.k_reciprocal(
            features, neighbors, k1=10, k2=4, cosine_share=0.3, num_scores=count
        ).added.toarray()
        for count in (40, 3)
    )
    assert np.count_nonzero(cut) < np.count_nonzero(whole) / 3
    kept = cut > 0
    np.testing.assert_allclose(cut[kept], whole[kept], atol=_TOLERANCE)
    # J of a row with itself is 1 and takes one of the three places.
    for row, cut_row in zip(whole + whole.T, cut + cut.T, strict=True):
        third = np.sort(row)[-3]
        assert np.all(cut_row[row > third + _TOLERANCE] > 0)


def diffusion_by_the_paper(F, k, alpha, exponent, share, *, normalize):
    A = F @ F.T
    near = np.sort(A, axis=1)[:, [-k]] <= A
    W = np.where(near & near.T, np.maximum(A, 0) ** exponent, 0)
    np.fill_diagonal(W, 0)
    degree = W.sum(axis=1)
    scale = np.where(degree > 0, degree, 1) ** -0.5
    S = scale[:, None] * W * scale
    H = (1 - alpha) * np.linalg.inv(np.eye(len(F)) - alpha * S)
    if normalize:
        H = H / np.sqrt(np.outer(np.diag(H), np.diag(H)))
    return (1 - share) * H + share * A


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize(("k", "alpha"), [(5, 0.5), (10, 0.9), (2, 0.99)])
def test_diffusion_solves_the_linear_system(problem, k, alpha, normalize):
    features, neighbors = problem
    scores = baselines.diffusion(
        features,
        neighbors,
        k=k,
        alpha=alpha,
        exponent=3.0,
        cosine_share=0.1,
        normalize=normalize,
        tolerance=1e-13,
    )
    want = diffusion_by_the_paper(features, k, alpha, 3.0, 0.1, normalize=normalize)
    # The iteration ends at 1e-13 of the unit vectors, up to the 1 / (1 − α) of H⁻¹.
    np.testing.assert_allclose(
        every_pair(scores), off_diagonal(want), rtol=0, atol=1e-10
    )


def test_diffusion_stays_near_the_solution_at_its_default_tolerance(problem):
    features, neighbors = problem
    scores = baselines.diffusion(
        features, neighbors, k=10, alpha=0.9, exponent=3.0, cosine_share=0.1
    )
    want = diffusion_by_the_paper(features, 10, 0.9, 3.0, 0.1, normalize=False)
    error = np.nanmax(np.abs(every_pair(scores) - off_diagonal(want)))
    # H is 0.1 (I − αS)⁻¹, of which an entry below 0.01 is dropped on each of 13 steps.
    assert 0 < error < 0.1 * 13 * 0.01


def test_scores_do_not_ask_which_row_comes_first(problem):
    features, neighbors = problem
    scores = baselines.k_reciprocal(features, neighbors, k1=10, k2=4, cosine_share=0.3)
    whole = every_pair(scores)
    np.testing.assert_array_equal(whole, whole.T)
    listed = scores.listed()
    assert np.all(listed.rows[:, 0] < listed.rows[:, 1])
    np.testing.assert_allclose(
        scores(*listed.rows.T) - listed.scores,
        0.3 * np.einsum("md,md->m", *(features[r] for r in listed.rows.T)),
        atol=_TOLERANCE,
    )


@pytest.mark.parametrize(("k_own", "k_other", "k2"), [(4, 5, 1), (3, 6, 2)])
def test_camera_jaccard_is_the_paper(problem, rng, k_own, k_other, k2):
    features, _ = problem
    cameras = rng.integers(3, size=40)
    A = features @ features.T
    order = np.argsort(-A, axis=1, kind="stable")

    def nearest(p, own, k):
        return [q for q in order[p] if (cameras[q] == cameras[p]) == own][:k]

    V = np.zeros((40, 40))
    for p in range(40):
        for own, k in ((True, k_own), (False, k_other)):
            for q in nearest(p, own, k):
                if p in nearest(q, own, k):
                    V[p, q] = np.exp(-np.sum((features[p] - features[q]) ** 2))
        V[p] /= V[p].sum()
    if k2 > 1:
        near = [nearest(p, True, k2) + nearest(p, False, k2) for p in range(40)]
        V = np.stack([V[each].mean(axis=0) for each in near])
    least = np.minimum(V[:, None], V).sum(axis=2)
    want = 0.7 * least / np.maximum(V[:, None], V).sum(axis=2) + 0.3 * A
    every: Any = oracle.exact_neighbors(features, 39)
    scores = baselines.camera_jaccard(
        features,
        every,
        cameras=cameras,
        k_own=k_own,
        k_other=k_other,
        k2=k2,
        cosine_share=0.3,
    )
    np.testing.assert_allclose(
        every_pair(scores), off_diagonal(want), rtol=0, atol=_TOLERANCE
    )
