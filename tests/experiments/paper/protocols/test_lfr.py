import numpy as np
import pytest

from experiments.paper.protocols import read_lfr_filelist


def read(tmp_path, content, track):
    path = tmp_path / "filelist.txt"
    path.write_bytes(content)
    return read_lfr_filelist(path, track=track)


def test_image_track(tmp_path):
    names, counts = read(tmp_path, b"0/a b.jpg\r\n1/c.jpg\n", "image")
    np.testing.assert_array_equal(names, ["0/a b.jpg", "1/c.jpg"])
    assert counts == (("images", 2, 1_862_120),)


def test_video_track(tmp_path):
    names, counts = read(tmp_path, b"video_2 17 frames\nvideo_10\n", "video")
    np.testing.assert_array_equal(names, ["video_2", "video_10"])
    assert counts == (("videos", 2, 203_848),)


def test_a_name_twice(tmp_path):
    with pytest.raises(ValueError, match=r"line 3: got 'a', .* it is in line 1 too"):
        read(tmp_path, b"a x\nb\na y\n", "video")
    read(tmp_path, b"a x\nb\na y\n", "image")
