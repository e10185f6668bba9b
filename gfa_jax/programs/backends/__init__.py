"""Where the rows of a run live: in memory, in a file, or on a mesh of devices.

Each backend reads, searches, chooses, updates, verifies and writes by its own means;
`pipeline` is the one order in which they do.
"""

import abc
import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

import gfa_jax as gfa
from gfa_jax import selection
from gfa_jax.programs import evaluation, inputs, settings


class Updated(NamedTuple):
    """What updates leave on the host.

    Attributes:
        features: [n, D] the rows of this process.
        residual: [T] as `Aggregation`.
        degree: [N] as `Aggregation`, of all rows.
    """

    features: np.ndarray
    residual: np.ndarray
    degree: np.ndarray


class Backend(abc.ABC):
    """The steps of a run, on the rows that this process has.

    Attributes:
        refined_name: the file or folder, in the output folder, that holds the result.
        streams: whether `aggregate` leaves the rows in a file.
        is_first: whether this process writes what is of all.
        layout: what the report says of processes and devices; None where there is one.
    """

    refined_name = "refined.npy"
    streams = False
    is_first = True
    layout: Mapping[str, Any] | None = None

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Fails in every process where the block fails in one."""
        yield

    @abc.abstractmethod
    def read(self, request: settings.Request, folder: pathlib.Path) -> inputs.Pool:
        """Reads and checks the pool: the rows of this process, all norms and labels."""

    @abc.abstractmethod
    def search(
        self, request: settings.Request
    ) -> tuple[gfa.Neighbors, gfa.neighbors.Calibration | None]:
        """Finds the candidates [n, width] of the rows, and how well, if measured."""

    @abc.abstractmethod
    def choose(self, neighbors: gfa.Neighbors) -> selection.Settings:
        """Asks the pool for its settings."""

    @abc.abstractmethod
    def aggregate(
        self, chosen: settings.Settings, folder: pathlib.Path, *, stage: str
    ) -> Updated:
        """Updates the rows.

        Args:
            chosen: the settings.
            stage: the name of these updates.
            folder: where a file of rows may be left.
        """

    @abc.abstractmethod
    def verify(
        self, rows: Any, stage: str | None, **options: Any
    ) -> evaluation.Verification | None:
        """Measures rows; the result is in the first process.

        Args:
            rows: [n, D] of `aggregate`; None for those that were read.
            stage: the name of the updates that they are of.
            **options: of `evaluation.verify`.
        """

    @abc.abstractmethod
    def write(self, rows: Any, folder: pathlib.Path, hidden: pathlib.Path) -> None:
        """Writes the refined rows.

        Args:
            rows: [n, D] of `aggregate`.
            folder: the output folder.
            hidden: a folder beside it whose files appear at the end.
        """

    def gather(self, own: np.ndarray) -> np.ndarray:
        """Joins values of the rows of all processes: [n, …] to [N, …]."""
        return own

    def publish(self, folder: pathlib.Path) -> None:
        """Does what comes after all files are written; by default nothing."""
        del folder
