r"""LFW, the anchor: 10-fold accuracy and ROC, raw and refined.

    python -m experiments.lfw --features=lfw.npy --names=names.txt --protocol=pairs.txt
    python -m experiments.lfw --features=lfw.npz --labels=lfw.npz \
        --pairs=lfw.npz --folds_key=pair_fold

The first form takes the official pairs.txt; line i of --names is the image of feature
row i, "Name/Name_0001.jpg", in any order and with any folders in front. The second
takes pairs of row numbers. Every row of --features is in the pool that is refined.
The paper has no table of LFW; this one has the same shape.
"""

from experiments.paper import pair_lists, paper, protocols
from gfa_jax.programs import flags

flags.adopt(pair_lists)
flags.DEFINE_string("output_dir", "outputs/lfw", "Folder of the results.")
flags.require("features")


def main() -> None:
    """Sweeps the grid over LFW's pairs."""
    pair_lists.run(
        protocols.read_lfw_pairs, depth=1, table=paper.LFW, pairs_a_kind=3000
    )
