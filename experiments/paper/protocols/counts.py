"""What a protocol holds, beside what its publishers say that it holds.

A figure may be compared with a published one only if both come from the same pairs;
the counts are the cheapest check of that.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Count(NamedTuple):
    """One number of a protocol."""

    name: str  # what was counted, in the plural
    found: int  # how many there are in the files that were read
    expected: int | None  # how many were published; None where that is not known

    def __str__(self) -> str:
        """Says both numbers, as in "5,999 pairs (expected 6,000)"."""
        if self.expected is None:
            return f"{self.found:,} {self.name}"
        return f"{self.found:,} {self.name} (expected {self.expected:,})"


def mismatches(counts: Iterable[Count]) -> tuple[Count, ...]:
    """Picks the counts that are not the published ones, each worth a warning."""
    return tuple(c for c in counts if c.expected not in (None, c.found))


def count_pairs(
    same: np.ndarray,
    *,
    total: int | None = None,
    genuine: int | None = None,
    impostor: int | None = None,
) -> tuple[Count, Count, Count]:
    """Counts pairs, genuine pairs and impostor pairs beside their published numbers.

    `same` is [M] bool, True for a genuine pair.
    """
    found = int(np.count_nonzero(same))
    return (
        Count("pairs", len(same), total),
        Count("genuine pairs", found, genuine),
        Count("impostor pairs", len(same) - found, impostor),
    )
