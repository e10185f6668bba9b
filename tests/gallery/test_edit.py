"""Rows that come and go: what is left is the gallery made without the detour."""

import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies

from gfa_jax import datasets, gallery
from gfa_jax.gallery import edit, lists
from gfa_jax.gallery.types import ROW_AXIS, resize

FEATURES = datasets.synthetic_features(num_rows=240, dim=16, seed=1).features
POOL = gallery.create(FEATURES[:120])


def compare(one, other, leave=()):
    """Holds two galleries to each other, row by row."""
    assert one.count == other.count
    for name, axis in ROW_AXIS.items():
        if name not in leave:
            got, want = (
                np.take(getattr(each, name), np.arange(one.count), axis)
                for each in (one, other)
            )
            np.testing.assert_allclose(got, want, atol=2e-6, err_msg=name)


def is_same_partition(one, other):
    pairs = {*zip(one.tolist(), other.tolist(), strict=True)}
    return len(pairs) == len({*one.tolist()}) == len({*other.tolist()})


def settled(given):
    """Everything made anew of the lists, with what was measured of the pool."""
    made = resize(given, given.count)
    edit.settle(made, np.ones(made.count, bool))
    return made


def oracle_lists(given):
    """The lists by a plain search in float64."""
    cosines = given.features.astype(np.float64) @ given.features.T
    np.fill_diagonal(cosines, 2)
    found = np.argsort(-cosines, axis=1, kind="stable")[:, : given.candidates.shape[1]]
    return np.pad(
        found,
        [(0, 0), (0, given.candidates.shape[1] - found.shape[1])],
        constant_values=-1,
    )


def test_what_create_holds_is_settled():
    compare(settled(POOL), POOL)


def test_a_removed_row_leaves_no_trace():
    grown = gallery.insert(POOL, FEATURES[120:], np.arange(120, 240))
    assert (grown.count, grown.settled, grown.version) == (240, False, 1)
    np.testing.assert_array_equal(grown.candidates[:240], oracle_lists(grown))
    back = gallery.remove(grown, np.arange(239, 119, -1))
    compare(back, POOL, leave=("clusters",))
    assert is_same_partition(back.labels, POOL.labels)
    assert back.settled and back.num_forgotten == 0
    assert not gallery.drift(back).due


def test_a_change_is_followed_to_its_end():
    less = gallery.remove(POOL, [3, 77])
    compare(less, settled(less))
    assert is_same_partition(less.labels, gallery.recluster(less).labels)
    assert less.num_forgotten == 2
    drift = gallery.drift(less)
    assert drift.due and drift.reasons[0].startswith("2 removed rows are in the means")
    fresh = gallery.refresh(less)
    want = gallery.create(np.delete(FEATURES[:120], [3, 77], axis=0), less.ids)
    compare(fresh, want, leave=("clusters",))
    assert is_same_partition(fresh.labels, want.labels)
    assert not gallery.drift(fresh).due and fresh.version == 2


def test_an_insert_goes_once_along_the_line():
    grown = gallery.insert(POOL, FEATURES[120:140], np.arange(120, 140))
    want = settled(grown)
    # What lists alone decide is that of all rows, and what is new is near it.
    for name in ("length", "mean", "spread", "scale", "nearest"):
        got = getattr(grown, name)[:140]
        np.testing.assert_allclose(got, getattr(want, name), atol=2e-6)
    cosines = np.einsum("nd,nd->n", grown.refined[120:], want.refined[120:])
    assert cosines.min() > 0.97


@hypothesis.given(
    strategies.lists(
        strategies.sets(strategies.integers(0, 29), min_size=1, max_size=8),
        max_size=4,
    )
)
@hypothesis.settings(max_examples=12)
def test_any_order_of_changes_ends_at_the_same(turns):
    features = FEATURES[:30]
    given = held = gallery.create(features[:12])
    inside = set(range(12))
    for turn in turns:
        come, go = sorted(turn - inside), inside & turn
        if come:
            held = gallery.insert(held, features[come], come, donate=held is not given)
        if go:
            held = gallery.remove(held, sorted(go))
        inside = inside - go | {*come}
        assert {*held.ids[: held.count].tolist()} == inside
        np.testing.assert_array_equal(held.candidates[: held.count], oracle_lists(held))
        assert (np.concatenate([held.ids[held.count :], [-1]]) == -1).all()
        assert not held.stages[:, held.count :].any()
    if held.settled:
        compare(held, settled(held), leave=("clusters",))
    assert given.count == 12 and (given.ids[:12] == np.arange(12)).all()


def test_inserts_of_one_row_compile_once(caplog):
    held = gallery.insert(POOL, FEATURES[120:121], [120])
    with jax.log_compiles():
        jax.jit(lambda x: x + 1)(1)
        assert "Compiling" in caplog.text
        caplog.clear()
        for row in range(121, 150):
            held = gallery.insert(held, FEATURES[row : row + 1], [row], donate=True)
    assert "Compiling" not in caplog.text
    assert held.stages.shape[1] == 240 and held.count == 150


def test_donated_arrays_are_taken_and_others_are_not():
    roomy = resize(POOL, 200)
    kept = roomy.stages.copy()
    gallery.insert(roomy, FEATURES[120:130], np.arange(120, 130))
    np.testing.assert_array_equal(roomy.stages, kept)
    taken = gallery.insert(roomy, FEATURES[120:130], np.arange(120, 130), donate=True)
    assert taken.stages is roomy.stages
    kept.flags.writeable = False  # as a map of a file is
    mapped = roomy._replace(stages=kept)
    rows, ids = FEATURES[130:131], [500]
    assert gallery.insert(mapped, rows, ids, donate=True).stages is not kept


def test_all_rows_may_go_and_others_come():
    empty = gallery.remove(POOL, POOL.ids)
    assert empty.count == 0 and gallery.drift(empty).due
    one = gallery.insert(empty, FEATURES[:1], [5])
    np.testing.assert_allclose(one.refined, FEATURES[:1], atol=1e-6)
    two = gallery.insert(one, FEATURES[:1], [6])
    assert two.count == 2 and (two.labels >= 0).all()
    with pytest.raises(ValueError, match="the gallery has 1 rows; expected at least 2"):
        gallery.refresh(one)


def test_a_search_from_elsewhere_serves_inserts_and_removals():
    known = dict(enumerate(FEATURES))

    def search(probes, k):
        ids = np.array(sorted(known))
        cosines = probes @ np.stack([known[n] for n in ids]).T
        order = np.argsort(-cosines, axis=1)[:, :k]
        return ids[order], np.take_along_axis(cosines, order, axis=1)

    rows, ids = FEATURES[120:130], np.arange(120, 130)
    exact = gallery.insert(POOL, rows, ids)
    # It may know of other rows too, which are passed over.
    found = gallery.insert(POOL, rows, ids, search=search)
    assert (found.candidates == exact.candidates)[120:130].mean() > 0.5
    known = {n: FEATURES[n] for n in range(130) if n not in (4, 125)}
    one, other = (gallery.remove(exact, [4, 125], search=s) for s in (None, search))
    compare(one, other)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("insert", (FEATURES[:1, :8], [500]), "expected rows of 16 values"),
        ("insert", (FEATURES[:1] * np.nan, [500]), "row"),
        ("insert", (FEATURES[:1] * 0, [500]), "zero"),
        ("insert", (FEATURES[:0], []), "expected rows of 16 values"),
        ("insert", (FEATURES[:1], [7]), "id 7 is in the gallery already"),
        ("insert", (FEATURES[:2], [500, 500]), "id 500 is given 2 times"),
        ("insert", (FEATURES[:2], [500]), r"expected \(2,\) integers"),
        ("insert", (FEATURES[:1], ["a"]), r"expected \(1,\) integers"),
        ("remove", ([7, 500],), r"id 500 is not in the gallery \(1 of 2 are not\)"),
        ("remove", ([7, 7],), "id 7 is given 2 times"),
    ],
)
def test_it_refuses_and_changes_nothing(function, arguments, message):
    before = [np.copy(getattr(POOL, name)) for name in ROW_AXIS]
    with pytest.raises(ValueError, match=message) as refused:
        getattr(gallery, function)(POOL, *arguments)
    assert "\n" not in str(refused.value)
    for name, value in zip(ROW_AXIS, before, strict=True):
        np.testing.assert_array_equal(getattr(POOL, name), value)


def test_the_largest_are_found_by_a_sample(rng):
    for count in (5, 700, 5000):
        row = np.round(rng.random(count), 3).astype(np.float32)
        want = np.argsort(-row, kind="stable")[:57]
        np.testing.assert_array_equal(lists.largest(row, 57), want)
    tied = np.ones(5000, np.float32)
    np.testing.assert_array_equal(lists.largest(tied, 57), np.arange(57))
