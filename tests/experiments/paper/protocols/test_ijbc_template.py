import numpy as np
import pytest

from experiments.paper.protocols import (
    mismatches,
    read_ijbc_nist_templates,
    read_ijbc_templates,
)
from gfa_jax.datasets import check_pairs
from tests.problems import refused

FACES = ["1.jpg 40 900", "2.jpg 3 901", "3.jpg 40 900", "4.jpg 17 902", "5.jpg 3 903"]
PAIRS = ["3 40 1", "3 17 0", "17 40 0", "40 3 1"]
POINTS = "1.5 2 3 4 5 6 7 8 9 10"
SCORES = [f"{i}.jpg {POINTS} 0.{i}" for i in range(1, 6)]


class TestInsightface:
    @pytest.fixture
    def files(self, tmp_path):
        def write(faces=FACES, pairs=PAIRS, scores=None, line_end="\n"):
            paths = []
            for name, lines in (
                ("face_tid_mid.txt", faces),
                ("template_pair_label.txt", pairs),
                ("name_5pts_score.txt", scores),
            ):
                paths.append(tmp_path / name)
                if lines is not None:
                    content = line_end.join(lines) + line_end
                    paths[-1].write_bytes(content.encode())
            score_file = None if scores is None else paths[2]
            return read_ijbc_templates(*paths[:2], name_5pts_score=score_file)

        return write

    @pytest.mark.parametrize("line_end", ["\n", "\r\n"])
    def test_the_format(self, files, line_end):
        protocol = files(scores=SCORES, line_end=line_end)
        assert protocol.names.tolist() == [f"{i}.jpg" for i in range(1, 6)]
        np.testing.assert_array_equal(protocol.template_ids, [3, 17, 40])
        np.testing.assert_array_equal(protocol.segments, [2, 0, 2, 1, 0])
        np.testing.assert_array_equal(protocol.media, [900, 901, 900, 902, 903])
        np.testing.assert_allclose(protocol.scores, [0.1, 0.2, 0.3, 0.4, 0.5])
        assert protocol.scores.dtype == np.float32
        np.testing.assert_array_equal(
            protocol.pairs.indices, [[0, 2], [0, 1], [1, 2], [2, 0]]
        )
        np.testing.assert_array_equal(protocol.pairs.same, [1, 0, 0, 1])
        check_pairs(protocol.pairs, 3)

    def test_counts(self, files):
        assert [(c.name, c.found, c.expected) for c in mismatches(files().counts)] == [
            ("faces", 5, 469375),
            ("templates", 3, 23124),
            ("pairs", 4, 15658489),
            ("genuine pairs", 2, 19557),
            ("impostor pairs", 2, 15638932),
        ]

    @pytest.mark.parametrize(
        "bad",
        ["6.jpg 3", "6.jpg 3 4 5", "6.jpg x 4", "6.jpg 3 -1", "6 jpg", "6.jpg,3,4"],
    )
    def test_malformed_face(self, files, bad):
        with pytest.raises(
            ValueError, match=r"face_tid_mid\.txt, line 6: .*'image template medium'"
        ):
            files(faces=[*FACES, bad, "7.jpg 3 4"])

    @pytest.mark.parametrize(
        ("bad", "match"),
        [
            ("3 41 0", "got '3,41,0', expected two template numbers"),
            ("3 40 2", "got '3,40,2', expected a label of 0 or 1"),
            ("3 40", "got '3 40', expected 3 integers"),
            ("3 x 1", "got '3 x 1', expected 3 integers"),
        ],
    )
    def test_malformed_pair(self, files, bad, match):
        with pytest.raises(
            ValueError, match=rf"template_pair_label\.txt, line 5: {match}"
        ):
            files(pairs=[*PAIRS, bad, "3 40 1"])

    @pytest.mark.parametrize(
        ("scores", "match"),
        [
            (SCORES[:-1], r"got 4 lines, expected 5, .* cut short"),
            ([*SCORES, SCORES[0]], "line 6: .* expected 5 lines"),
            ([SCORES[1], *SCORES[1:]], "line 1: .* expected image '1.jpg'"),
            ([*SCORES[:4], "5.jpg 1 2 0.5"], "line 5: .* expected 'image x1 y1"),
            ([*SCORES[:4], f"5.jpg {POINTS} x"], "line 5: .* expected 'image x1 y1"),
            ([*SCORES[:4], f"5.jpg {POINTS} nan"], "line 5: .* expected 'image x1 y1"),
        ],
    )
    def test_scores_refused(self, files, scores, match):
        refused(rf"name_5pts_score\.txt.*{match}", files, scores=scores)


HEADER = (
    "TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT"
)
G1 = ["10,1,img/1.png,501,1,2,3,4", "10,1,frames/7_1.png,502,1,2,3,4"]
G2 = ["4,2,img/2.png,503,1,2,3,4"]
PROBE = [
    "8,1,frames/9_1.png,504,1,2,3,4",
    "8,1,frames/9_2.png,504,,,,",
    "6,2,img/3.png,505,1,2,3,4",
]


class TestNist:
    @pytest.fixture
    def files(self, tmp_path):
        def write(
            g1=G1, g2=G2, probe=PROBE, matches=("10,8", "10,6", "4,6"), header=HEADER
        ):
            for name, lines in (
                ("G1.csv", [header, *g1]),
                ("G2.csv", [header, *g2]),
                ("probe.csv", [header, *probe]),
                ("matches.csv", matches),
            ):
                (tmp_path / name).write_text("\n".join(lines) + "\n")
            return read_ijbc_nist_templates(
                [tmp_path / "G1.csv", tmp_path / "G2.csv"],
                tmp_path / "probe.csv",
                tmp_path / "matches.csv",
            )

        return write

    def test_the_format(self, files):
        protocol = files()
        assert protocol.names.tolist() == [
            line.split(",")[2] for line in [*G1, *G2, *PROBE]
        ]
        np.testing.assert_array_equal(protocol.template_ids, [4, 6, 8, 10])
        np.testing.assert_array_equal(protocol.segments, [3, 3, 0, 2, 2, 1])
        np.testing.assert_array_equal(protocol.media, [501, 502, 503, 504, 504, 505])
        assert protocol.scores is None
        np.testing.assert_array_equal(protocol.pairs.indices, [[3, 2], [3, 1], [0, 1]])
        np.testing.assert_array_equal(protocol.pairs.same, [1, 0, 1])
        counts = {count.name: count[1:] for count in protocol.counts}
        assert counts["faces"] == (6, None)
        assert counts["templates"] == (4, 23124)
        assert counts["genuine pairs"] == (2, 19557)

    def test_a_template_in_two_files(self, files):
        with pytest.raises(
            ValueError,
            match=r"probe\.csv, line 5: template 4 of subject 2 .*G2\.csv, line 2; exp",
        ):
            files(probe=[*PROBE, "4,2,img/2.png,503,1,2,3,4"])

    def test_a_template_of_two_subjects(self, files):
        with pytest.raises(
            ValueError,
            match=r"G1\.csv, line 4: template 10 of subject 3 is of subject 1 .*line 2",
        ):
            files(g1=[*G1, "10,3,img/8.png,509,1,2,3,4"])

    def test_a_pair_of_a_template_without_a_face(self, files):
        with pytest.raises(ValueError, match=r"matches\.csv, line 2: got '10,9'"):
            files(matches=["10,8", "10,9"])
