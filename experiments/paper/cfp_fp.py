r"""CFP, frontal against profile (paper, §4.3, Tab. 3 and Fig. 11).

    python -m experiments.cfp_fp --features=cfp.npy --names=names.txt \
        --protocol=cfp-dataset/Protocol
    python -m experiments.cfp_fp --features=cfp.npz --labels=cfp.npz \
        --pairs=cfp.npz --pairs_key=pairs_fp --folds_key=pairs_fp_fold

The first form takes the folder Protocol as it was distributed; line i of --names is
the image of feature row i, "001/frontal/01.jpg", in any order and with any folders in
front. The second takes pairs of row numbers. Every row of --features is in the pool
that is refined. The ROC is one curve over the pairs of all folds: the paper's figures
fit 3,500 genuine pairs exactly, which no mean over folds would. The accuracy is that
of the folds, each at the threshold of the others.
"""

from experiments.paper import pair_lists, paper, protocols
from gfa_jax.programs import flags

flags.adopt(pair_lists)
flags.DEFINE_string("output_dir", "outputs/cfp_fp", "Folder of the results.")
flags.require("features")


def main() -> None:
    """Sweeps the grid of Tab. 3."""
    pair_lists.run(protocols.read_cfp, depth=2, table=paper.CFP_FP, pairs_a_kind=3500)
