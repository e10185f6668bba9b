"""How the clusterers did, as lines: means over the splits, and who is above whom."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.studies.clusterers.tuning import Outcome

OURS = "ours"
# No peers: one part of ours left out, or exchanged; and the default, without a number.
ABLATIONS = ("average_raw", "components_refined", "infomap_refined", "default")


def table(outcomes: Mapping[str, Sequence[Outcome]]) -> str:
    """Lays the means over the splits out, one clusterer a line."""
    lines = [
        f"{'':19}{'pairwise P':>11}{'R':>7}{'F':>7}{'±':>6}{'BCubed F':>10}{'±':>6}"
        f"{'NMI':>7}{'clusters':>10}{'true':>7}{'seconds':>9}"
    ]
    for name, each in outcomes.items():
        pairwise, bcubed = f_scores(each).T
        columns = [
            (
                outcome.scores.pairwise.precision,
                outcome.scores.pairwise.recall,
                outcome.scores.nmi_arithmetic,
                outcome.scores.num_clusters,
                outcome.scores.num_identities,
                outcome.seconds,
            )
            for outcome in each
        ]
        precision, recall, nmi, clusters, identities, seconds = np.mean(columns, axis=0)
        lines.append(
            f"{name:19}{precision:11.3f}{recall:7.3f}{pairwise.mean():7.3f}"
            f"{pairwise.std():6.3f}{bcubed.mean():10.3f}{bcubed.std():6.3f}{nmi:7.3f}"
            f"{clusters:10,.0f}{identities:7,.0f}{seconds:9.2f}"
        )
    return "\n".join(lines)


def verdict(outcomes: Mapping[str, Sequence[Outcome]]) -> str:
    """Says in how many splits ours is above every peer; ablations are no peers."""
    peers = [name for name in outcomes if name not in (OURS, *ABLATIONS)]
    if not peers:
        return "no peer was asked for"
    ours = f_scores(outcomes[OURS])
    theirs = np.stack([f_scores(outcomes[name]) for name in peers])
    won = (ours > theirs.max(axis=0)).sum(axis=0)
    lead = ours.mean(axis=0) - theirs.mean(axis=1).max(axis=0)
    return (
        f"ours beside the best of the {len(peers)} peers: pairwise F {lead[0]:+.4f}, "
        f"above all in {won[0]} of {len(ours)} splits; BCubed F {lead[1]:+.4f}, above "
        f"all in {won[1]}"
    )


def f_scores(outcomes: Sequence[Outcome]) -> np.ndarray:
    """Returns [splits, 2]: pairwise and BCubed F."""
    return np.array(
        [
            (outcome.scores.pairwise.f_score, outcome.scores.bcubed.f_score)
            for outcome in outcomes
        ]
    )
