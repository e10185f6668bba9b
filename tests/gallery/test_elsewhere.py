"""A gallery beside an index that another program keeps: a FAISS file, a database."""

import numpy as np
import pytest

from gfa_jax import datasets, gallery
from gfa_jax.neighbors import faiss_search

ROWS = datasets.synthetic_features(num_rows=240, dim=16, seed=6).features
KEYS = np.arange(200) * 3 + 5


def assert_same_answers(search) -> None:
    """What is found through the index is what the exact search finds."""
    made = gallery.create(ROWS[:200], KEYS, search=search)
    exact = gallery.create(ROWS[:200], KEYS)
    np.testing.assert_array_equal(made.candidates, exact.candidates)
    through = gallery.query(made, ROWS[200:], k=3, search=search)
    expected = gallery.query(exact, ROWS[200:], k=3)
    np.testing.assert_array_equal(through.ids, expected.ids)
    np.testing.assert_allclose(through.scores, expected.scores, atol=1e-5)


def test_a_faiss_index(tmp_path):
    faiss = pytest.importorskip("faiss", reason="FAISS is not installed")
    index = faiss.IndexIDMap(faiss.IndexFlatIP(16))
    index.add_with_ids(ROWS[:200], KEYS)
    faiss.write_index(index, str(tmp_path / "rows.faiss"))
    assert_same_answers(faiss_search(tmp_path / "rows.faiss"))


_NEAREST = """
SELECT probe, id, score FROM (
    SELECT n AS probe, id, array_inner_product(rows.vector, probes.vector) AS score,
           row_number() OVER (PARTITION BY n ORDER BY score DESC, id) AS place
    FROM rows, (SELECT unnest(range(len($1))) AS n,
                       unnest($1)::FLOAT[16] AS vector) AS probes)
WHERE place <= $2 ORDER BY probe, place
"""


@pytest.fixture
def database():
    duckdb = pytest.importorskip("duckdb", reason="pip install duckdb")
    with duckdb.connect() as database:
        database.execute("CREATE TABLE rows (id BIGINT, vector FLOAT[16])")
        pairs = zip(KEYS.tolist(), ROWS[:200].tolist(), strict=True)
        database.executemany("INSERT INTO rows VALUES (?, ?)", [*map(list, pairs)])
        yield database


def test_a_database(database):
    def search(probes, k):
        found = database.execute(_NEAREST, [probes.tolist(), k]).fetchnumpy()
        shape = len(probes), -1
        return found["id"].reshape(shape), found["score"].reshape(shape)

    assert_same_answers(search)


_INDEXED = """
SELECT id, array_negative_inner_product(vector, {}::FLOAT[16]) AS score
FROM rows ORDER BY score LIMIT {}
"""


def test_an_index_of_a_database(database):
    try:
        database.execute("LOAD vss")
    except pytest.importorskip("duckdb").Error as error:
        pytest.skip(f"DuckDB's vss is not installed (INSTALL vss): {error}")
    database.execute("CREATE INDEX n ON rows USING HNSW (vector) WITH (metric='ip')")
    database.execute("SET hnsw_ef_search = 200")
    planned = database.execute("EXPLAIN " + _INDEXED.format(ROWS[0].tolist(), 5))
    assert "HNSW_INDEX_SCAN" in str(planned.fetchall())

    def search(probes, k):
        asked = (_INDEXED.format(probe.tolist(), k) for probe in probes)
        found = [database.execute(each).fetchnumpy() for each in asked]
        return [np.stack([each[name] for each in found]) for name in ("id", "score")]

    assert_same_answers(search)
