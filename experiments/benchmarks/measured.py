"""Measures every stage at one size: memory in processes of their own, then seconds."""

import concurrent.futures.process
import importlib.util
import pathlib
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import gfa_jax as gfa
from experiments.benchmarks import ann, memory, stages, timing
from gfa_jax.programs import cli


class Row(NamedTuple):
    """One line of the table."""

    stage: str  # name of the stage
    peer: str  # name of the peer
    size: int  # N
    times: timing.Paired  # seconds of both; those of a sliced peer are estimated
    share: float  # of its work that the peer did
    # Fraction of the measured ceiling that ours reaches; None without one.
    ceiling: float | None
    # Most bytes that ours held, with the interpreter and the imports.
    ours_bytes: dict[str, int] | None
    peer_bytes: dict[str, int] | None  # the same of the peer


class Found(NamedTuple):
    """What an approximate search found."""

    method: str  # ours or the peer
    size: int  # N
    setting: str  # how it searched
    recall: float  # share of all K − 1 others, of the rows of a sample
    edge_recall: float  # share of those above the threshold


def sides(name: str, num_rows: int) -> Iterator[tuple[int, stages.Side]]:
    """Lists, with their numbers, the peers installed that end in time."""
    for number, side in enumerate(stages.STAGES[name].peers):
        if side.least_rows <= num_rows <= side.most_rows and installed(side.package):
            yield number, side


def installed(package: str) -> bool:
    """Tells whether a package can be imported."""
    return importlib.util.find_spec(package) is not None


def check_dependencies(names: list[str]) -> None:
    """Names on stderr the peers whose packages are not installed."""
    missing = {
        side.package: f"{side.package} is not installed: {side.name} is left out"
        for name in names
        for side in stages.STAGES[name].peers
        if not installed(side.package)
    }
    for line in missing.values():
        print(line, file=sys.stderr)


def prepare(folder: pathlib.Path, names: list[str]) -> None:
    """Adds the neighbours and the efforts of the indexes to a problem in its folder."""
    cli.keep_compiled_programs()
    problem = stages.load(folder)
    if len(problem.features) > problem.slice_above:
        neighbors, _ = gfa.approximate_neighbors(
            problem.features, k=problem.k, threshold=stages.THRESHOLD
        )
    else:
        neighbors = gfa.exact_neighbors(problem.features, k=problem.k)
    neighbors = gfa.Neighbors(*map(np.asarray, neighbors))
    efforts = {}
    if "approximate" in names:
        exact = ann.exact_sample(problem.features, problem.k)
        for _, side in sides("approximate", len(problem.features)):
            if side.name in stages.INDEXES:
                index = stages.INDEXES[side.name](len(problem.features))
                efforts[side.name] = ann.effort(
                    problem.features, exact, index, threshold=stages.THRESHOLD
                )
    stages.save(problem._replace(neighbors=neighbors, efforts=efforts), folder)


def run_once(folder: pathlib.Path, name: str, peer: int | None) -> None:
    """Runs ours (None) or a peer of a stage once; without a stage it only reads."""
    cli.keep_compiled_programs()
    problem = stages.load(folder)
    if name:
        stage = stages.STAGES[name]
        side = stage if peer is None else stage.peers[peer]
        timing.seconds(side.make(problem))


def all_bytes(
    folder: pathlib.Path, names: list[str], num_rows: int
) -> dict[tuple[str, int | None], dict[str, int] | None]:
    """Measures the most bytes of every side of every stage, by stage and number.

    None is ours; None are the bytes where the process was ended, for want of memory as
    a rule. ("", None) is a process that only reads.
    """
    jobs: list[tuple[str, int | None]] = [("", None)]
    for name in names:
        numbers = [number for number, _ in sides(name, num_rows)]
        jobs += [(name, number) for number in (None, *numbers) if numbers]
    measured = {}
    for job in cli.progress(jobs, total=len(jobs), desc=f"memory, {num_rows:,} rows"):
        try:
            measured[job] = memory.measure(run_once, folder, *job)
        except concurrent.futures.process.BrokenProcessPool:
            cli.warn(f"{job[0]} of {num_rows:,} rows ended early: out of memory?")
            measured[job] = None
    return measured


def all_times(
    folder: pathlib.Path,
    names: list[str],
    limits: dict[str, float],
    measured: dict[tuple[str, int | None], dict[str, int] | None],
    *,
    repeats: int,
    patience: float,
) -> tuple[list[Row], list[Found]]:
    """Times ours and each peer in turn: the rows, and what approximate searches found.

    No further pair is started after `patience` seconds.
    """
    problem = stages.load(folder)
    num_rows = len(problem.features)
    rows, found = [], []
    jobs = [(name, *side) for name in names for side in sides(name, num_rows)]
    for name, number, side in cli.progress(
        jobs, total=len(jobs), desc=f"seconds, {num_rows:,} rows"
    ):
        stage = stages.STAGES[name]
        share = side.share(problem)
        times, ours, theirs = timing.paired(
            stage.make(problem),
            side.make(problem),
            repeats=repeats,
            share=share,
            patience=patience,
        )
        if stage.check is not None:
            stage.check(ours, theirs)
        ceiling = None
        if stage.work is not None:
            kind, amount = stage.work(problem)
            ceiling = amount / timing.median(times.ours) / limits[kind]
        rows.append(
            Row(
                stage.name,
                side.name,
                num_rows // stage.fewer,
                times,
                share,
                ceiling,
                measured[name, None],
                measured[name, number],
            )
        )
        if name == "approximate":
            found += _found(problem, side, ours, theirs)
    return rows, found


def _found(
    problem: stages.Problem, side: stages.Side, ours: Any, theirs: Any
) -> Iterator[Found]:
    """Scores ours once, beside the flat search, and every index."""
    if side.name in stages.INDEXES:
        index = stages.INDEXES[side.name](len(problem.features))
        setting = f"{index.factory}, {index.parameter}={problem.efforts[side.name]}"
        yield _score(problem, side.name, setting, theirs)
    else:
        neighbors, calibration = ours
        setting = calibration.factory
        if calibration.search:
            setting += f", {calibration.search}"
        yield _score(problem, "ours", setting, neighbors)


def _score(
    problem: stages.Problem, method: str, setting: str, neighbors: gfa.Neighbors
) -> Found:
    exact = ann.exact_sample(problem.features, problem.k)
    found = np.asarray(neighbors.indices)[exact.rows]
    return Found(
        method,
        len(problem.features),
        setting,
        ann.recall(found, exact),
        ann.recall(found, exact, threshold=stages.THRESHOLD),
    )
