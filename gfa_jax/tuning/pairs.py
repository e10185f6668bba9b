"""The pairs that are learnt from: read, checked, told apart by kind, drawn from."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Pairs(NamedTuple):
    """Distinct pairs of rows, and how many were left out as they repeat another."""

    genuine: np.ndarray  # [G, 2]
    impostor: np.ndarray  # [M, 2]
    num_repeated: int


def read_pairs(
    pairs: npt.ArrayLike, same: npt.ArrayLike, num_rows: int, name: str
) -> Pairs:
    """Checks pairs [M, 2], drops the repeated ones, and tells the kinds apart.

    Raises:
        ValueError: another shape or dtype, rows outside [0, N), a row with itself, a
            pair of both kinds, one kind only; `name` says what the pairs are for.
    """
    rows, same = check_rows(pairs, num_rows, name), np.asarray(same)
    if same.shape != (len(rows),) or same.dtype != np.bool_:
        raise ValueError(
            f"same of the {name} pairs is {same.dtype} of shape {same.shape}; expected "
            f"bool [{len(rows)}]"
        )
    itself = rows[:, 0] == rows[:, 1]
    if itself.any():
        first = int(np.argmax(itself))
        raise ValueError(
            f"{np.count_nonzero(itself)} {name} pairs join a row with itself, the "
            f"first is pair {first} with row {rows[first, 0]}; leave them out: their "
            "cosine is always 1"
        )
    unique, first, group = np.unique(
        np.sort(rows, axis=1), axis=0, return_index=True, return_inverse=True
    )
    contradicts = same != same[first][group.reshape(-1)]
    if contradicts.any():
        i, j = rows[int(np.argmax(contradicts))]
        raise ValueError(
            f"rows {i} and {j} are a genuine and an impostor {name} pair at once; "
            "expected one kind"
        )
    same = same[first]
    if not 0 < np.count_nonzero(same) < len(same):
        raise ValueError(
            f"got {np.count_nonzero(same)} genuine and {np.count_nonzero(~same)} "
            f"impostor {name} pairs; expected at least one of each"
        )
    return Pairs(unique[same], unique[~same], len(rows) - len(unique))


def check_disjoint(
    training: Pairs,
    held_out: Pairs,
    identities: npt.ArrayLike | None,
    num_rows: int,
) -> None:
    """Refuses rows, and known identities [N], that are on both sides."""
    first, second = (
        np.unique(np.concatenate([p.genuine, p.impostor])) for p in (training, held_out)
    )
    what = "rows"
    if identities is not None:
        identities = np.asarray(identities)
        if identities.shape != (num_rows,):
            raise ValueError(
                f"identities have shape {identities.shape}; expected ({num_rows},)"
            )
        what = "identities"
        first, second = np.unique(identities[first]), np.unique(identities[second])
    shared = np.intersect1d(first, second)
    if shared.size:
        raise ValueError(
            f"{shared.size} {what} are in both the training and the validation pairs, "
            f"{shared[0]} among them; expected none: split the pairs by identity"
        )


def check_rows(pairs: npt.ArrayLike, num_rows: int, name: str) -> np.ndarray:
    """Refuses what is no list [M, 2] of pairs of the N rows; returns it."""
    rows = np.asarray(pairs)
    if rows.ndim != 2 or rows.shape[1] != 2 or rows.dtype.kind not in "iu":
        raise ValueError(
            f"{name} pairs are {rows.dtype} of shape {rows.shape}; expected integers "
            "[M, 2]"
        )
    if rows.size and not 0 <= rows.min() <= rows.max() < num_rows:
        raise ValueError(
            f"{name} pairs hold rows from {rows.min()} to {rows.max()}; expected 0 to "
            f"{num_rows - 1}"
        )
    return rows


def draw_batch(
    genuine: np.ndarray,
    impostor: np.ndarray,
    *,
    batch_size: int,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws half of a batch of each kind, or all where they are fewer.

    Returns:
        Rows of genuine and of impostor pairs, int32 [.., 2], each pair at most once.
    """
    half = batch_size // 2
    drawn = []
    for kind in (genuine, impostor):
        if len(kind) > half:
            kind = kind[random.choice(len(kind), size=half, replace=False)]
        drawn.append(kind.astype(np.int32))
    return drawn[0], drawn[1]
