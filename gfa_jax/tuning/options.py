"""The static choices of what is learnt, and by which loss."""

from typing import Literal, NamedTuple, get_args

from gfa_jax.affinity import Weighting
from gfa_jax.aggregation import Graph
from gfa_jax.tuning.losses import LOSSES, Loss

Differentiation = Literal["reverse", "forward"]
DIFFERENTIATIONS: tuple[Differentiation, ...] = get_args(Differentiation)
VARIABLES = (
    "gamma",
    "threshold",
    "temperature",
    "exponent",
    "power",
    "scale",
    "center",
)


class Objective(NamedTuple):
    """The static choices of the loss; hashable.

    Attributes:
        num_updates: T >= 1.
        loss: one of `LOSSES`.
        hardest: share in (0, 1] of the impostor pairs, the hardest of a batch, that the
            partial AUC compares.
        spared: share in [0, hardest) of them that it leaves out, the hardest of all:
            FPRs below the band of interest.
        margin: of the contrastive loss, a distance in (0, 2].
        per_step: whether each update has its own gamma and, unless graph="fixed",
            threshold.
        frozen: those of `VARIABLES` that stay as they start.
        differentiation: "reverse" keeps one [N, D] array an update; "forward" needs
            memory that does not depend on T, and time for each number that is learnt.
        weighting: see `aggregate`.
        graph: see `aggregate`.
        include_self: see `aggregate`.
        renormalize: see `aggregate`.
    """

    num_updates: int = 4
    loss: Loss = "logistic"
    hardest: float = 0.1
    spared: float = 0.0
    margin: float = 1.0
    per_step: bool = False
    frozen: tuple[str, ...] = ()
    differentiation: Differentiation = "reverse"
    weighting: Weighting = "affinity"
    graph: Graph = "fixed"
    include_self: bool = True
    renormalize: bool = True

    @property
    def reads_reverse(self) -> bool:
        """Whether a gradient is faster with `reverse_neighbors`; see `aggregate`."""
        return self.graph == "fixed" and self.differentiation == "reverse"

    def learnt(self, *, pools: bool = False) -> tuple[str, ...]:
        """Names the variables that the loss depends on and that are not frozen.

        Args:
            pools: whether the rows are pooled from frames.

        Returns:
            Some of `VARIABLES`.
        """
        names = ["gamma", "threshold", "temperature"]
        if self.weighting == "affinity":
            names.append("exponent")
        if self.loss == "logistic":
            names += ["scale", "center"]
        if pools:
            names.append("power")
        return tuple(name for name in names if name not in self.frozen)


def check_objective(objective: Objective, *, pools: bool = False) -> None:
    """Refuses choices that no loss has.

    Args:
        objective: see its class; the options of `aggregate` are checked there.
        pools: whether the rows are pooled from frames.

    Raises:
        ValueError: what was got, what was expected.
    """
    if objective.num_updates < 1:
        raise ValueError(f"num_updates is {objective.num_updates}; expected 1 or more")
    for name, known in (("loss", LOSSES), ("differentiation", DIFFERENTIATIONS)):
        value = getattr(objective, name)
        if value not in known:
            raise ValueError(f"{name} is {value!r}; expected one of {', '.join(known)}")
    if not 0 < objective.hardest <= 1:
        raise ValueError(f"hardest is {objective.hardest}; expected a share in (0, 1]")
    if not 0 <= objective.spared < objective.hardest:
        raise ValueError(
            f"spared is {objective.spared}; expected a share in "
            f"[0, {objective.hardest}), less than hardest"
        )
    if not 0 < objective.margin <= 2:
        raise ValueError(
            f"margin is {objective.margin}; expected a distance in (0, 2], that of "
            "unit rows"
        )
    unknown = [name for name in objective.frozen if name not in VARIABLES]
    if unknown:
        raise ValueError(
            f"frozen names {unknown[0]!r}; expected some of {', '.join(VARIABLES)}"
        )
    if not objective.learnt(pools=pools):
        raise ValueError("everything is frozen; expected something to learn")
