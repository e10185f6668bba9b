import numpy as np
import pytest

from experiments.paper.protocols import mismatches, read_ijbc_covariate
from gfa_jax.datasets import check_pairs, integer_lines
from tests.problems import refused

HEADER = (
    "TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT,"
    "FRAME_NUM,FACIAL_HAIR,AGE,INDOOR_OUTDOOR,SKINTONE,GENDER,YAW,ROLL,"
    + ",".join(f"OCC{i}" for i in range(1, 19))
)
#            template, subject; two people on one picture
TEMPLATES = [(11, 5), (7, 5), (30, 9), (12, 9), (2, 4)]
MATCHES = [(11, 7), (11, 30), (30, 12), (7, 2), (2, 2)]


def row(template, subject, box="1.5,2,3,4"):
    rest = "," * 26
    return f"{template},{subject},img/{subject}.png,900,{box}{rest}"


@pytest.fixture
def files(tmp_path):
    def write(*, header=HEADER, rows=None, matches=None, line_end="\n", **lists):
        rows = [row(*pair) for pair in TEMPLATES] if rows is None else rows
        matches = [f"{i},{j}" for i, j in MATCHES] if matches is None else matches
        contents = {"probe_reference.csv": [header, *rows], "matches.csv": matches}
        contents |= {f"{name}.csv": map(str, ids) for name, ids in lists.items()}
        for name, lines in contents.items():
            content = line_end.join(lines) + line_end
            (tmp_path / name).write_bytes(content.encode())
        drops = {name: tmp_path / f"{name}.csv" for name in lists}
        return read_ijbc_covariate(
            tmp_path / "probe_reference.csv", tmp_path / "matches.csv", **drops
        )

    return write


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_format(files, line_end):
    protocol = files(line_end=line_end)
    np.testing.assert_array_equal(protocol.rows, np.arange(5))
    np.testing.assert_array_equal(protocol.template_ids, [11, 7, 30, 12, 2])
    np.testing.assert_array_equal(protocol.subject_ids, [5, 5, 9, 9, 4])
    assert protocol.names.tolist() == [f"img/{s}.png" for _, s in TEMPLATES]
    np.testing.assert_array_equal(
        protocol.pairs.indices, [[0, 1], [0, 2], [2, 3], [1, 4], [4, 4]]
    )
    assert protocol.pairs.indices.dtype == np.int64
    np.testing.assert_array_equal(protocol.pairs.same, [1, 0, 1, 0, 1])
    check_pairs(protocol.pairs, 5)
    names = [count.name for count in mismatches(protocol.counts)]
    assert names == ["templates in the file", "pairs in the file"]
    found = {count.name: count.found for count in protocol.counts}
    assert (found["subjects kept"], found["genuine pairs"]) == (3, 3)


@pytest.mark.parametrize(
    ("lists", "rows", "indices"),
    [
        ({"drop_subjects": [9, 77]}, [0, 1, 4], [[0, 1], [1, 2], [2, 2]]),
        ({"drop_templates": [11]}, [1, 2, 3, 4], [[1, 2], [0, 3], [3, 3]]),
        ({"drop_subjects": [5], "drop_templates": [2]}, [2, 3], [[0, 1]]),
        ({"drop_subjects": ["SUBJECT_ID", 9, 9]}, [0, 1, 4], [[0, 1], [1, 2], [2, 2]]),
    ],
)
def test_drop_lists(files, lists, rows, indices):
    whole, protocol = files(), files(**lists)
    np.testing.assert_array_equal(protocol.rows, rows)
    np.testing.assert_array_equal(protocol.pairs.indices, indices)
    for field in ("template_ids", "subject_ids", "names"):
        np.testing.assert_array_equal(
            getattr(protocol, field), getattr(whole, field)[rows]
        )
    first, second = protocol.subject_ids[protocol.pairs.indices].T
    np.testing.assert_array_equal(protocol.pairs.same, first == second)


@pytest.mark.parametrize(
    ("lists", "match"),
    [
        ({"drop_subjects": [30, 12]}, r"drop_subjects\.csv: none of its numbers"),
        ({"drop_templates": [11, "5x"]}, r"drop_templates\.csv, line 2: got '5x'"),
        ({"drop_templates": ["11,7"]}, r"line 1: got '11,7', expected 1 int"),
        ({"drop_subjects": [5, 9, 4]}, "leave no template"),
    ],
)
def test_drop_lists_refused(files, lists, match):
    refused(match, files, **lists)


@pytest.mark.parametrize("block_bytes", [64, 8 << 20])
@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ("11,8", "line 31: got '11,8', expected two template numbers of the lists"),
        ("31,7", "line 31: got '31,7', expected two template"),
        ("99999999,7", "line 31: got '99999999,7', expected two template"),
        ("11,7,1", "line 31: got '11,7,1', expected 2 integers"),
        ("11", "line 31: got '11', expected 2 integers"),
        ("11,x", "line 31: got '11,x', expected 2 integers"),
        ("11,7.5", "line 31: got '11,7.5'"),
    ],
)
def test_malformed_match_is_named(files, monkeypatch, block_bytes, bad, match):
    monkeypatch.setattr(integer_lines, "_BLOCK_BYTES", block_bytes)
    matches = [f"{i},{j}" for i, j in MATCHES] * 6
    refused(rf"matches\.csv, {match}", files, matches=[*matches, bad, *matches])


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ("8,5,img/8.png", "got 3 fields, expected 34"),
        (row(8, 5) + ",", "got 35 fields, expected 34"),
        (row("", 5), "got ',5,img/5.png' in the columns TEMPLATE_ID, SUBJECT_ID"),
        (row("x1", 5), "got 'x1,5,img/5.png'"),
        (row(8, "1.5"), "got '8,1.5,"),
        (row(8, -1), "got '8,-1,"),
        (row(8, 5).replace("img/5.png", ""), "got '8,5,'"),
        ('"8' + row(8, 5), "unexpected end of data"),
        (row(11, 5), "template 11 is listed before"),
    ],
)
def test_malformed_template_is_named(files, bad, match):
    rows = [row(*pair) for pair in TEMPLATES] + [bad]
    if "unexpected" in match or "listed" in match:
        rows.append(row(8, 5))
    line = 8 if "unexpected" in match else 7
    refused(rf"probe_reference\.csv, line {line}: {match}", files, rows=rows)
