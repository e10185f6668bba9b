"""Where the rows of a run live: in memory, in a file, or on a mesh of devices.

Each backend reads, searches, refines, verifies and writes by its own means; `pipeline`
is the one order in which they do.
"""

import abc
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

import gfa_jax as gfa
from gfa_jax import datasets, selection, sharding, streaming
from gfa_jax.neighbors import choose_search
from gfa_jax.neighbors.automatic import estimate_exact
from gfa_jax.neighbors.ivf import recall
from gfa_jax.programs import cli, evaluation, flags, inputs, processes
from gfa_jax.refinement import Refinement, Request, Settings
from gfa_jax.refinement.pool import run_stages
from gfa_jax.streaming.workspace import Team

FLAGS = flags.FLAGS

Searched = tuple[gfa.Neighbors, gfa.neighbors.Calibration | None]


class Backend(abc.ABC):
    """The steps of a run, on the rows that this process has.

    Settings, candidates and updated features are of these rows, all else of the pool.

    Attributes:
        refined_name: the file or folder, in the output folder, that holds the result.
        measures: whether `verify` can measure the pool.
        written: the fingerprint of what is not among the hidden files, by name.
        layout: what the report says of processes and devices; None where there is one.
    """

    refined_name = "refined.npy"
    measures = True
    written: Mapping[str, Any] = {}
    layout: Mapping[str, Any] | None = None
    # Joins values of the rows of all processes, where each has its own.
    gather: Callable[[np.ndarray], np.ndarray] = staticmethod(np.asarray)

    @abc.abstractmethod
    def read(self, request: Request, folder: pathlib.Path) -> inputs.Pool:
        """Reads and checks the pool: the rows of this process, all norms and labels."""

    @abc.abstractmethod
    def search(self, request: Request) -> Searched:
        """Finds the candidates [n, width] of the rows, and how well, if measured."""

    def refine(
        self, request: Request, searched: gfa.Neighbors, stages: cli.Stages
    ) -> Refinement:
        """Chooses the settings and updates."""
        return run_stages(
            request,
            searched,
            choose=self.choose,
            update=lambda chosen: self.update(chosen, "updates"),
            gather=self.gather,
            stages=stages,
        )

    @abc.abstractmethod
    def choose(self, near: gfa.Neighbors) -> selection.Settings:
        """Chooses the settings by the candidates of the rows."""

    @abc.abstractmethod
    def update(self, chosen: Settings, stage: str) -> gfa.Aggregation:
        """Updates the rows; `stage` is the name of these updates."""

    @abc.abstractmethod
    def verify(
        self, rows: Any, stage: str | None, **options: Any
    ) -> evaluation.Verification | None:
        """Measures rows, with the options of `evaluation.verify`, in the first process.

        They are [n, D] of the `update` of that stage; None for those that were read.
        """

    @abc.abstractmethod
    def write(self, rows: Any, hidden: pathlib.Path) -> None:
        """Writes the refined rows [n, D]; hidden files appear at the end."""

    def publish(self) -> None:  # noqa: B027
        """Does what comes after all files are written; by default nothing."""


def read_checked(
    source: inputs.Source, rows: range, read: Callable[[int, int], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Reads and checks some rows of a source: as stored, and their norms."""
    name, least = FLAGS.features or source.name, 2
    if len(rows) < source.shape[0]:
        name, least = f"{name}, from row {rows.start} on", 1
    stored = read(rows.start, rows.stop)
    return stored, datasets.check_features(stored, name=name, least=least)


def read_candidates(
    rows: Any,
    request: Request,
    score: Callable[[np.ndarray], Any],
    own: slice = slice(None),
) -> Searched:
    """Reads the candidates of the own rows that --candidates names.

    They have as many columns as the request says, the row itself counted; `score` gives
    the cosines of a file of numbers only.
    """
    num_rows, calibration = rows.shape[0], None
    with processes.together():
        found = datasets.read_candidates(FLAGS.candidates, num_rows=num_rows)
        placed = gfa.neighbors.place_self(*found, k=request.width(num_rows))
        if processes.is_first():
            name = f"--candidates={FLAGS.candidates}"
            calibration = measure(rows, placed, request, name)
    indices, similarity = (np.asarray(column)[own] for column in placed)
    if np.isnan(placed.similarity).any():
        similarity = np.where(indices < 0, -np.inf, score(indices))
    return gfa.Neighbors(indices, similarity), calibration


def choose(shape: Sequence[int], request: Request, *, default: str) -> str:
    """Returns which search to run of [N, D], as --neighbors says, by default as given.

    "auto" is by their times on this machine; of several processes the first decides.
    """
    search = FLAGS.neighbors or default
    if search == "auto" and processes.is_first():
        num_rows, dim = shape
        width, threshold = request.width(num_rows), request.first_threshold
        choice = choose_search(num_rows, dim, k=width, threshold=threshold)
        search = choice.search
        cli.log_estimate(f"{search} neighbors", choice.seconds, choice.reason)
    return sharding.gather_bytes(search.encode())[0].decode()


def measure(
    rows: Any, found: gfa.Neighbors, request: Request, name: str
) -> gfa.neighbors.Calibration | None:
    """Measures the candidates of all rows that `name` found.

    Those that miss some of the edges are warned of. Where they miss half of what
    --edge_recall asks for, something else is wrong with them: a ValueError.
    """
    asked = approximate_options(request)
    target = asked.pop("edge_recall")
    result = recall.measure(rows, found, factory=name, target=target, **asked)
    if result is not None and result.recall < target:
        said = (
            f"{name} holds {result.recall:.1%} of the edges of {result.sample_rows} "
            f"sampled rows, of {target:.1%} that --edge_recall asks for"
        )
        if result.recall < target / 2:
            raise ValueError(
                f"{said}; search with --neighbors, or accept them with --edge_recall=0"
            )
        cli.warn(said)
    return result


def search_approximately(rows: Any, request: Request, **options: Any) -> Searched:
    """Searches nearly all candidates of the own rows, with all processes of the job.

    Each can read all rows [N, D]; options are those of
    `streaming.approximate_neighbors`.
    """
    width = request.width(len(rows))

    def on_exact(reason: str) -> None:
        if processes.is_first():
            seconds = estimate_exact(*rows.shape, k=width)
            cli.log_estimate("exact neighbors after all", seconds, reason)

    options |= {"k": width, "team": team(), "progress": progress}
    return streaming.approximate_neighbors(rows, on_exact=on_exact, **options)


def approximate_options(request: Request) -> dict[str, Any]:
    """Returns what decides an approximate search, besides its rows and width."""
    asked = {"edge_recall": FLAGS.edge_recall, "threshold": request.first_threshold}
    return asked | {"seed": FLAGS.seed}


def team() -> Team:
    """Returns the processes of the job, which fail together."""
    wait = functools.partial(sharding.collective_errors, None)
    return Team(jax.process_index(), jax.process_count(), wait)


def progress(iterable: Any, *, total: int | None, desc: str) -> Any:
    """Shows the bar of process 0; the others have about as many steps."""
    if processes.is_first():
        return cli.progress(iterable, total=total, desc=desc)
    return iterable
