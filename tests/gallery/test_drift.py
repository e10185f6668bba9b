"""A refresh is due when the settings are no longer those that the rows would choose."""

import numpy as np

from gfa_jax import gallery


def groups(*, count, size, noise=0.3, seed=0):
    random = np.random.default_rng(seed)
    centers = random.normal(size=(count, 1, 24))
    rows = centers + noise * random.normal(size=(count, size, 24))
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    return rows.astype(np.float32)


def test_growing_groups_want_another_size():
    rows = groups(count=40, size=12)
    held = gallery.create(rows[:, :8].reshape(-1, 24))
    assert held.k == 7 and gallery.drift(held) == (False, ())
    more = rows[:, 8:].reshape(-1, 24)
    grown = gallery.insert(held, more[:4], np.arange(1000, 1004))
    assert not gallery.drift(grown).due
    grown = gallery.insert(held, more, np.arange(1000, 1160))
    due, reasons = gallery.drift(grown)
    assert due and reasons[0].startswith("K = 10 has a closure 0.")
    fresh = gallery.refresh(grown)
    assert fresh.k == 10 and not gallery.drift(fresh).due


def test_rows_that_joined_one_by_one_are_clustered_anew():
    rows = groups(count=30, size=10).reshape(-1, 24)
    order = np.random.default_rng(0).permutation(300)
    held = gallery.create(rows[order[:280]], order[:280])
    for row in order[280:]:
        held = gallery.insert(held, rows[[row]], [row], donate=held.version > 0)
    assert held.num_placed == 20
    assert (
        "20 rows joined clusters one by one: recluster" in gallery.drift(held).reasons
    )
    anew = gallery.recluster(held)
    assert anew.num_placed == 0 and not gallery.drift(anew).due
    np.testing.assert_array_equal(anew.labels[:280], held.labels[:280])
    at_once = gallery.insert(
        gallery.create(rows[order[:280]], order[:280]), rows[order[280:]], order[280:]
    )
    assert (at_once.num_placed, at_once.version) == (0, 1)
    for each in (held, anew, at_once):
        kinds = each.ids[:300] // 10
        assert len({*zip(each.labels.tolist(), kinds.tolist(), strict=True)}) == 30


def test_many_more_rows_and_another_kind_of_rows_are_told():
    rows = groups(count=60, size=8)
    held = gallery.create(rows[:20].reshape(-1, 24))
    more = rows[20:].reshape(-1, 24)
    grown = gallery.insert(held, more[:32], np.arange(1000, 1032))
    assert not any("rows;" in reason for reason in gallery.drift(grown).reasons)
    grown = gallery.insert(grown, more[32:33], [1032])
    assert "193 rows; 160 when measured" in gallery.drift(grown).reasons
    grown = gallery.insert(held, more, np.arange(1000, 1320))
    assert "480 rows; 160 when measured" in gallery.drift(grown).reasons
    loose = groups(count=20, size=8, noise=2.0).reshape(-1, 24)
    grown = gallery.insert(held, loose, np.arange(1000, 1160))
    assert any("median" in reason for reason in gallery.drift(grown).reasons)
