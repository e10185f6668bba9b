"""The study of galleries: who is in them, who is asked, and the tables end to end."""

import numpy as np
import pytest

from experiments.studies import identification
from gfa_jax import datasets
from tests.programs.programs import succeed


def test_what_is_asked_is_of_another_camera_and_strangers_are_not_in_the_gallery(rng):
    labels, cameras = rng.integers(0, 30, 400), rng.integers(0, 3, 400)
    for origin in (cameras, cameras == 1, None):
        chosen = identification.split(labels, origin)
        assert not {*chosen.gallery} & {*chosen.probes}
        inside, asked = labels[chosen.gallery], labels[chosen.probes]
        assert len({*inside}) == 15 and len({*asked} - {*inside}) == 15
        if origin is not None:
            pairs = {*zip(inside, origin[chosen.gallery], strict=True)}
            assert not pairs & {*zip(asked, origin[chosen.probes], strict=True)}
    # All rows of one camera: such identities are in the gallery, and not asked for.
    chosen = identification.split(labels, labels)
    assert {*labels[chosen.probes]} == {*labels} - {*labels[chosen.gallery]}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    sample = datasets.synthetic_features(num_rows=300, dim=16, seed=3, max_size=12)
    arrays = {"features": sample.features, "labels": sample.labels}
    one = arrays | {"camera": np.arange(300) % 2}
    np.savez(folder / "one.npz", allow_pickle=False, **one)
    two = arrays | {"is_profile": sample.pose > 0.5}
    np.savez(folder / "two.npz", allow_pickle=False, **two)
    return folder


def test_the_tables(files, tmp_path, monkeypatch):
    monkeypatch.setattr(identification, "GROWTH", (0.1,))
    result = succeed(
        "identification",
        f"--sets={files}",
        "--generated=200",
        f"--output_dir={tmp_path}",
    )
    tables = (tmp_path / "tables.md").read_text()
    assert tables in result.stdout + "\n"
    growth, figures, thresholds = (
        part.strip().splitlines()[2:]
        for part in tables.replace("**open set**", "**identification**")
        .removeprefix("**growth**")
        .split("**identification**")
    )
    assert [line.split(" | ")[0] for line in growth] == [
        "| one",
        "| two",
        "| generated",
    ]
    assert all(len(line.split(" | ")) == 7 for line in growth)
    for lines in (figures, thresholds):
        assert [line.split(" | ")[0] for line in lines] == ["| one", "| two"]
    assert figures[0].count("[") == len(identification.FPIRS)
