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

    def own(self, num_rows: int, *, grain: int = 1) -> range:
        """Returns the rows of this process, whole multiples of `grain`, maybe none."""
        grains = -(-num_rows // grain)
        first, stop = (grains * p // self.size for p in (self.number, self.number + 1))
        return range(min(first * grain, num_rows), min(stop * grain, num_rows))
