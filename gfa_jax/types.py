"""The three containers that travel through the library, a shape on every field.

They are NamedTuples, so JAX sees them as pytrees: every field is a leaf that may
be traced, batched, sharded and, where it is a float, differentiated. Nothing
static hides inside; static choices are keyword options of the functions.
"""

import math
from typing import NamedTuple

import jax
import numpy as np
from jax.core import Tracer

Array = jax.Array | np.ndarray
Scalar = jax.Array | float


class Params(NamedTuple):
    """The differentiable knobs of one update.

    Attributes:
        gamma: [] step towards the pseudo-center, in [0, 1] (Eq. 1 and 2).
        threshold: [] cosine t that an edge must exceed, in [-1, 1] (Eq. 6).
        temperature: [] width of the soft mask in units of cosine, > 0. Not used by
            the hard mask.
        exponent: [] power of the affinity weights, >= 0. Not used by the uniform
            weights.
    """

    gamma: Scalar
    threshold: Scalar
    temperature: Scalar = 0.05
    exponent: Scalar = 3.0


class Neighbors(NamedTuple):
    """K candidate neighbours of every row, the j ∈ KNN_i of Eq. 6.

    Attributes:
        indices: [N, K] int32 row numbers in [0, N), or -1 for an empty slot. Where
            the row itself is counted among its K neighbours it sits in column 0.
        similarity: [N, K] floating cosines of the candidates when they were found;
            an empty slot holds -inf.
    """

    indices: Array
    similarity: Array


class Aggregation(NamedTuple):
    """What `aggregate` returns.

    Attributes:
        features: [N, D] floating refined features.
        residual: [T] floating root mean square over the rows of
            ‖F_i^t − F_i^{t−1}‖, one a step: how far the rows still move.
        degree: [N] floating number of neighbours that survived the mask in the
            last step, the row itself among them where it is counted (a soft mask
            counts fractions); 0 marks a row left as it was.
    """

    features: jax.Array
    residual: jax.Array
    degree: jax.Array


def check_params(params: Params) -> None:
    """Refuses parameters outside their ranges; a traced one cannot be checked.

    Args:
        params: gamma in [0, 1], threshold in [-1, 1], temperature > 0, exponent >= 0.

    Raises:
        ValueError: what was got, what was expected.
    """
    for name, value, low, high in (
        ("gamma", params.gamma, 0.0, 1.0),
        ("threshold", params.threshold, -1.0, 1.0),
        ("temperature", params.temperature, math.ulp(0.0), math.inf),
        ("exponent", params.exponent, 0.0, math.inf),
    ):
        if isinstance(value, Tracer):
            continue
        if not (low <= float(value) <= high):
            expected = "above 0" if name == "temperature" else f"in [{low:g}, {high:g}]"
            raise ValueError(f"{name} is {float(value):g}; expected a value {expected}")
