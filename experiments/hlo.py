"""What a compiled program does: operations, and bytes over the links of one device.

Operations are XLA's own count (`cost_analysis`), which takes a loop's body once; the
programs counted here are compiled so that their loops run once. Bytes are read off the
collectives in the program's text, each as often as the loops around it run:

    all-gather          (P − 1)/P of its result arrive
    collective-permute  its result arrives
    all-reduce          2 (P − 1)/P of its result, by a ring
"""

import math
import re
from typing import Any, NamedTuple

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_CALLED = re.compile(
    r"(?:calls|to_apply|body|true_computation|false_computation)=%?([\w.\-]+)"
)
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_COLLECTIVE = re.compile(
    r"= (\(?[^=]*?) (all-gather|collective-permute|all-reduce|all-to-all)(?:-start)?\("
)
_SHAPE = re.compile(r"\b([a-z]+)(\d*)\[([\d,]*)\]")


class Count(NamedTuple):
    """What one device does in one call.

    Attributes:
        operations: floating-point operations, a multiply-add counted as two.
        link_bytes: bytes that arrive over its links.
    """

    operations: float
    link_bytes: float

    def __add__(self, other: tuple) -> "Count":
        """Adds another call."""
        return Count(*(a + b for a, b in zip(self, other, strict=True)))

    def times(self, calls: int) -> "Count":
        """Repeats the call."""
        return Count(*(calls * x for x in self))


def count(compiled: Any, *, num_devices: int) -> Count:
    """Counts a program that `jax.jit(...).lower(...).compile()` returned."""
    analysis = compiled.cost_analysis()
    arriving = collective_bytes(compiled.as_text(), num_devices=num_devices)
    return Count(analysis["flops"], arriving)


def collective_bytes(text: str, *, num_devices: int) -> float:
    """Adds up the bytes of all collectives in the text of an HLO module.

    Args:
        text: of the module, optimised.
        num_devices: P, devices that take part in each collective.

    Returns:
        Bytes that arrive at one device.
    """
    bytes_of: dict[str, float] = {}
    calls: dict[str, list[tuple[str, int]]] = {}
    entry = name = ""
    for line in text.splitlines():
        if opened := _COMPUTATION.match(line):
            name = opened[2]
            entry = name if opened[1] else entry
            bytes_of[name], calls[name] = 0.0, []
        if found := _COLLECTIVE.search(line):
            share = (num_devices - 1) / num_devices
            factor = {"collective-permute": 1.0, "all-reduce": 2 * share}
            bytes_of[name] += factor.get(found[2], share) * _shape_bytes(found[1])
        trips = _TRIPS.search(line)
        called = _CALLED.findall(line)
        for branches in _BRANCHES.findall(line):
            called += [branch.strip(" %") for branch in branches.split(",")]
        calls.get(name, []).extend((c, int(trips[1]) if trips else 1) for c in called)

    def total(computation: str) -> float:
        inside = (trips * total(called) for called, trips in calls[computation])
        return bytes_of[computation] + sum(inside)

    return total(entry)


def _shape_bytes(text: str) -> float:
    return sum(
        math.prod(map(int, filter(None, sizes.split(","))))
        * (max(8, int(bits)) // 8 if bits else 1)
        for _, bits, sizes in _SHAPE.findall(text)
    )
