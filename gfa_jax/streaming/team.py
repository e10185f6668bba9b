"""The processes that share a piece of work by files on one file system."""

from collections.abc import Callable
from typing import NamedTuple


class Team(NamedTuple):
    """Which process of how many this is; by default the only one.

    Attributes:
        number: of this process, in [0, size).
        size: P, how many there are.
        wait: returns when all processes have called it, as often as this one has; all
            then see what each has written. It raises where another one has failed.
    """

    number: int = 0
    size: int = 1
    wait: Callable[[], None] = lambda: None

    def own(self, num_rows: int) -> range:
        """Returns the rows of this process, [N p / P, N (p + 1) / P), maybe none."""
        first, stop = (
            num_rows * p // self.size for p in (self.number, self.number + 1)
        )
        return range(first, stop)
