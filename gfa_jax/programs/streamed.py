"""Refines embeddings that are larger than memory: `gfa refine --streamed`.

gfa streamed --features=big.npy --k=8 --num_steps=1
"""

from gfa_jax.programs import flags, refine

flags.adopt(refine)
EVERYDAY = refine.EVERYDAY


def main() -> None:
    """Runs `refine` on a file."""
    flags.FLAGS["streamed"].value = True
    if not flags.FLAGS["output_dir"].present:
        flags.FLAGS["output_dir"].value = "outputs/streamed"
    refine.main()
