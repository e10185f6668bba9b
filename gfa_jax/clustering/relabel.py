"""Numbers that clusters keep while a pool grows."""

import numpy as np


def relabel(
    labels: np.ndarray, previous: np.ndarray, *, first_free: int = 0
) -> np.ndarray:
    """Gives clusters the numbers of those that they continue.

    Pairs of an old and a new cluster are matched by their rows in common, the most
    first (of equal ones the lower old number, then the lower new one), each cluster
    once. A new cluster without a partner gets the next number that was never used, in
    the order of the new numbers: no number of an old cluster that ended comes back.

    Args:
        labels: [N] integer clusters, -1 for a row without one, which stays -1.
        previous: [M] integer old numbers of the first M <= N rows, -1 for none.
        first_free: numbers under it were used before, besides those in `previous`.

    Returns:
        [N] int64 numbers. Equal labels have equal numbers, others different ones.

    Raises:
        ValueError: other shapes or dtypes, more old rows than new ones.

    Cost: two sorts of N numbers, and a step in Python for each pair that overlaps.
    """
    labels, previous = np.asarray(labels), np.asarray(previous)
    for name, given in (("labels", labels), ("previous", previous)):
        if given.ndim != 1 or given.dtype.kind not in "iu":
            what = f"{name} are {given.dtype} {given.shape}"
            raise ValueError(f"{what}; expected a row of integers")
    if len(previous) > len(labels):
        raise ValueError(
            f"previous has {len(previous)} rows; expected at most {len(labels)}, those "
            "that the pool begins with"
        )
    both = np.stack([previous, labels[: len(previous)]])
    pairs, counts = np.unique(
        both[:, (both >= 0).all(axis=0)], axis=1, return_counts=True
    )
    number = np.full(labels.max(initial=-1) + 1, -1, np.int64)
    taken = set()
    for old, new in pairs[:, np.argsort(-counts, kind="stable")].T.tolist():
        if number[new] < 0 and old not in taken:
            number[new] = old
            taken.add(old)
    fresh = np.setdiff1d(labels, np.append(np.flatnonzero(number >= 0), -1))
    first_free = max(first_free, int(previous.max(initial=-1)) + 1)
    number[fresh] = first_free + np.arange(len(fresh))
    return np.where(labels < 0, -1, number[labels])
