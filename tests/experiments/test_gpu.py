"""The measurement of a card, small, on a CPU."""

import json

import pytest

from experiments.benchmarks import gpu, gpu_parts
from gfa_jax.programs import cli

_SMALL = {"dim": 16, "k": 6, "seed": 3}


def _run(folder, *arguments):
    cli.run(gpu, ["gpu", f"--output_dir={folder}", "--dim=16", "--k=6", *arguments])


def test_parity_holds_and_sees_a_wrong_list(monkeypatch):
    result = gpu_parts.parity(300, **_SMALL)
    assert result["ids_within"] <= 1e-6
    assert result["false_accepts_off"] <= 1  # a score within rounding of a threshold
    real = gpu_parts.filtered.search_others

    def wrong(rows, *, k):
        best, again = real(rows, k=k)
        return best._replace(indices=best.indices[::-1]), again

    monkeypatch.setattr(gpu_parts.filtered, "search_others", wrong)
    with pytest.raises(ValueError, match="differ from float64"):
        gpu_parts.parity(300, **_SMALL)


@pytest.mark.parametrize("name", ["updates", "gradient", "all_pairs"])
def test_parts_give_positive_figures(name):
    figures = getattr(gpu_parts, name)(200, **_SMALL)
    assert all(value > 0 for value in figures.values())


def test_profile_names_the_longest_operations():
    milliseconds = gpu_parts.profile(200, **_SMALL)["milliseconds"]
    assert milliseconds
    assert list(milliseconds.values()) == sorted(milliseconds.values(), reverse=True)


def test_goes_on_with_what_is_left(tmp_path, capsys):
    sizes = "--sizes=60,90"
    _run(tmp_path, sizes, "--part=limits_60")
    kept = json.loads((tmp_path / "limits_60.json").read_text())
    (tmp_path / "parity_90.failed.json").write_text('{"error": "out of memory"}')
    _run(tmp_path, sizes, "--seconds=0")
    table = capsys.readouterr().out
    assert f"- device: {kept['device']}" in table
    assert "## parity_90: out of memory" in table
    assert "## whole_job_90: not begun within --seconds=0" in table


def test_refuses_unknown_parts_and_sizes(tmp_path, capsys):
    for arguments, message in (
        (["--part=nothing"], "--part=nothing"),
        (["--sizes=3"], "--sizes=3: expected numbers above k=6"),
    ):
        with pytest.raises(SystemExit) as exit_:
            _run(tmp_path, *arguments)
        assert exit_.value.code == 2
        assert message in capsys.readouterr().err
