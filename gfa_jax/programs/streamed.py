"""Refines embeddings that are larger than memory: `gfa refine --streamed`.

gfa streamed --features=big.npy --k=8 --num_steps=1
"""

from gfa_jax.programs import flags, refine

flags.DEFINE_string("output_dir", "outputs/streamed", "Folder of the results.")
flags.DEFINE_bool("streamed", True, "Keep the features in their file.")
flags.adopt(refine)
EVERYDAY = refine.EVERYDAY
main = refine.main
