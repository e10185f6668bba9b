"""`tune --templates`: the power by which frames are pooled is learnt with the rest."""

import json

import numpy as np
import pytest

import gfa_jax as gfa
from gfa_jax import metrics
from tests.programs.programs import call, succeed

_PEOPLE, _TEMPLATES, _FRAMES, _DIM = 40, 4, 6, 24
_FLAGS = (
    "--k=6",
    "--num_steps=2",
    "--fpr=1e-2",
    "--fprs=1e-2",
    "--resamples=0",
    "--nochosen_edges",
    "--max_iterations=6",
    "--min_gain=0",
    "--threshold=0.2,0.4",
)


@pytest.fixture(scope="module")
def frames():
    """Frames whose length says how clear they are: features, templates, people."""
    rng = np.random.default_rng(3)
    people = rng.standard_normal((_PEOPLE, _DIM))
    person = np.repeat(np.arange(_PEOPLE), _TEMPLATES * _FRAMES)
    template = np.repeat(np.arange(_PEOPLE * _TEMPLATES), _FRAMES)
    quality = rng.uniform(0.3, 3, (len(person), 1))
    noise = rng.standard_normal((len(person), _DIM)) * 3 / quality
    rows = people[person] + noise
    rows *= quality / np.linalg.norm(rows, axis=1, keepdims=True)
    order = rng.permutation(len(person))
    return rows[order].astype(np.float32), template[order], person[order]


@pytest.fixture
def files(tmp_path, frames):
    for name, array in zip(("frames", "templates", "people"), frames, strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    return tmp_path


def tune(files, *flags: str):
    return call(
        "tune",
        f"--features={files}/frames.npy",
        f"--labels={files}/people.npy",
        f"--templates={files}/templates.npy",
        f"--output_dir={files}/out",
        *_FLAGS,
        *flags,
    )


def test_the_power_is_learnt_and_reported_on_the_other_half(files, frames):
    result = tune(files, "--power=0.5")
    assert result.returncode == 0, result.stderr
    values = json.loads((files / "out" / "params.json").read_text())
    report = json.loads((files / "out" / "report.json").read_text())
    # Longer frames are clearer, and it starts where they hardly count.
    assert values["power"] > 0.6

    features, template, person = frames
    people = np.random.default_rng(0).permutation(_PEOPLE)
    reported = np.isin(person, people[_PEOPLE // 2 :])
    names, segments = np.unique(template[reported], return_inverse=True)
    pooled = np.asarray(
        gfa.pool(
            features[reported],
            segments,
            num_segments=len(names),
            method="norm_power",
            power=values["power"],
        )
    )
    refined = gfa.aggregate(
        pooled,
        gfa.exact_neighbors(pooled, k=6),
        gfa.Params(*(values[name] for name in gfa.Params._fields)),
        num_steps=2,
        options=gfa.Options(mask="soft"),
    ).features
    labels = names // _TEMPLATES
    first, second = np.triu_indices(len(names), 1)
    cosines = np.asarray(refined @ refined.T)[first, second]
    roc = metrics.roc_curve(cosines, labels[first] == labels[second])
    (want,) = metrics.tpr_at_fpr(roc, (1e-2,))
    (got,) = report["verification"]["after"]["tpr_at_fpr"]
    # A few pairs more or less where scores tie in float32.
    assert got["tpr"] == pytest.approx(want.tpr, abs=0.02)
    assert got["tpr"] > report["verification"]["before"]["tpr_at_fpr"][0]["tpr"]

    # What is learnt is what refine takes, for templates pooled by that power.
    np.save(files / "pooled.npy", pooled)
    succeed(
        "refine",
        f"--features={files}/pooled.npy",
        f"--params={files}/out/params.json",
        f"--output_dir={files}/refined",
        "--noplots",
    )
    np.testing.assert_allclose(
        np.load(files / "refined" / "refined.npy"), refined, atol=1e-5
    )


def test_lengths_of_one_are_warned_of(files, frames):
    unit = frames[0] / np.linalg.norm(frames[0], axis=1, keepdims=True)
    np.save(files / "frames.npy", unit)
    result = tune(files, "--max_iterations=1")
    assert result.returncode == 0, result.stderr
    assert "no power of it weighs anything" in result.stderr


def _mix(files, frames):
    person = frames[2].copy()
    person[0] = (person[0] + 1) % _PEOPLE
    np.save(files / "people.npy", person)


def _shorten(files, frames):
    np.save(files / "templates.npy", frames[1][1:])


@pytest.mark.parametrize(
    ("spoil", "flags", "message"),
    [
        (_mix, (), "holds frames of two identities; expected one a template"),
        (_shorten, (), "959"),
        (None, ("--power=0",), "above 0"),
        (None, ("--power=x",), "--power"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(files, frames, spoil, flags, message):
    if spoil is not None:
        spoil(files, frames)
    result = tune(files, *flags)
    assert result.returncode == 2, result.stderr
    (line,) = result.stderr.strip().splitlines()[-1:]
    assert message in line
    assert "Traceback" not in result.stderr
    out = files / "out"
    assert not out.exists() or not any(out.iterdir())


def test_frames_without_identities_are_refused(files):
    result = call("tune", f"--templates={files}/templates.npy")
    assert result.returncode == 2
    assert "--templates describes --features with --labels" in result.stderr
