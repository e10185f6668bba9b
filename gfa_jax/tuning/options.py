"""The static choices of what is learnt, and by which loss."""

from typing import Literal, NamedTuple, get_args

from gfa_jax.tuning.losses import LOSSES, Loss
from gfa_jax.types import DEFAULT, Options

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
        num_steps: T >= 1, updates of the aggregation.
        loss: one of `LOSSES`.
        fpr_low: share in [0, fpr_high) of the impostor pairs, the hardest of a batch,
            that the partial AUC leaves out: FPRs below the band of interest.
        fpr_high: share in (0, 1] down to which it compares.
        margin: of the contrastive loss, a distance in (0, 2].
        frozen: those of `VARIABLES` that stay as they start.
        differentiation: "reverse" keeps one [N, D] array an update; "forward" needs
            memory that does not depend on T, and time for each number that is learnt.
        options: of `aggregate`. The mask is the one with which the result is to be
            used, and so what chooses: "soft" as learnt, or the "hard" bracket, to which
            `tune` can anneal.
    """

    num_steps: int = 4
    loss: Loss = "logistic"
    fpr_low: float = 0.0
    fpr_high: float = 0.1
    margin: float = 1.0
    frozen: tuple[str, ...] = ()
    differentiation: Differentiation = "reverse"
    options: Options = DEFAULT

    @property
    def reads_reverse(self) -> bool:
        """Whether a gradient is faster with `reverse_neighbors`; see `aggregate`."""
        return self.options.graph == "fixed" and self.differentiation == "reverse"

    def learnt(self, *, pools: bool = False) -> tuple[str, ...]:
        """Names the variables that the loss depends on and that are not frozen."""
        unread = set(self.frozen)
        if self.options.weighting != "affinity":
            unread.add("exponent")
        if self.loss != "logistic":
            unread |= {"scale", "center"}
        if not pools:
            unread.add("power")
        return tuple(name for name in VARIABLES if name not in unread)


def check_objective(objective: Objective, *, pools: bool = False) -> None:
    """Refuses choices that no loss has; `Options` checks its own."""
    if objective.num_steps < 1:
        raise ValueError(f"num_steps is {objective.num_steps}; expected 1 or more")
    for name, known in (
        ("loss", LOSSES),
        ("differentiation", DIFFERENTIATIONS),
    ):
        value = getattr(objective, name)
        if value not in known:
            raise ValueError(f"{name} is {value!r}; expected one of {', '.join(known)}")
    if not 0 <= objective.fpr_low < objective.fpr_high <= 1:
        raise ValueError(
            f"fpr_low is {objective.fpr_low} and fpr_high {objective.fpr_high}; "
            "expected 0 <= fpr_low < fpr_high <= 1"
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
