r"""LFW, the anchor: 10-fold accuracy and ROC, raw and refined.

    python -m experiments.lfw --features=lfw.npy --names=names.txt --protocol=pairs.txt
    python -m experiments.lfw --features=lfw.npz --labels=lfw.npz \
        --pairs=lfw.npz --folds_key=pair_fold

The first form takes the official pairs.txt; line i of --names is the image of feature
row i, "Name/Name_0001.jpg", in any order and with any folders in front. The second
takes pairs of row numbers. Every row of --features is in the pool that is refined.
The paper has no table of LFW; this one has the same shape.
"""

from experiments.paper import grid, pair_lists, paper, protocols
from gfa_jax.programs import flags, inputs

FLAGS = flags.FLAGS
for module in (inputs, grid, pair_lists):
    flags.adopt(module)

flags.DEFINE_input("protocol", None, "LFW's pairs.txt; needs --names.")
flags.DEFINE_string("output_dir", "outputs/lfw", "Folder of the results.")
flags.require("features")

_PAIRS_A_KIND = 3000


def main() -> None:
    """Sweeps the grid over LFW's pairs."""
    pair_lists.run(
        protocols.read_lfw_pairs,
        depth=1,
        table=paper.LFW,
        pairs_a_kind=_PAIRS_A_KIND,
    )
