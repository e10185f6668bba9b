r"""TrillionPairs, 1.86 million images (paper, §4.5, Tab. 5): TPR at FPR 1e-8.

    python -m experiments.trillion_pairs --features=image.bin --filelist=filelist.txt \
        --ground_truth=identities.txt

--features is the challenge's file (16 bytes of header, then float32 rows) or .npy, its
rows in the order of --filelist. --ground_truth, which was never public, has an
identity a line in the same order, -1 (or --distractor) for a distractor; without it
the features are refined all the same. submission.bin is the refined file in the
challenge's format, of the first of the settings.

The pool that is refined is every row. Impostor pairs are read in two ways, all pairs
and ground truth against distractors; the table gives both. The whole set has 1.7·10¹²
pairs, 8.9·10¹⁴ multiply-adds at 512 columns, and each of these passes over them: an
exact search, the figures of the raw features, those of every setting. By the rate of
smaller sets, 9·10¹⁰ multiply-adds a second on two idle CPU cores, the products alone
take 2.7 hours a pass, and counting adds a quarter; it was not run here. Where there
are several devices, each scores its share of the tiles of the figures; the scores are
counted on the host, which a fast accelerator would wait for. --neighbors=approximate
makes the search approximate.
"""

from experiments.paper import challenge, challenge_tables, paper, protocols
from gfa_jax import datasets
from gfa_jax.programs import cli, flags, inputs

FLAGS = flags.FLAGS
flags.adopt(challenge)
flags.DEFINE_string("output_dir", "outputs/trillion_pairs", "Folder of the results.")
flags.require("features", "filelist")


def main() -> None:
    """Measures the setting of Tab. 5, or a grid, and writes the submission."""
    cli.keep_compiled_programs()
    challenge_tables.run(_load, folder=FLAGS.output_dir)


def _load() -> challenge.Task:
    images = protocols.read_lfr_filelist(FLAGS.filelist, track="image")
    source = inputs.open_source()
    num_rows = source.shape[0]
    if num_rows != len(images.names):
        raise ValueError(
            f"{FLAGS.features}: got {num_rows} rows, expected {len(images.names)}, one "
            f"a line of {FLAGS.filelist}"
        )
    truth = challenge.read_ground_truth(num_rows)
    stored = source.read(0, num_rows)
    norms = datasets.check_features(stored, name=FLAGS.features)
    features = inputs.unit_rows(stored, norms)
    return challenge.Task(
        inputs.Pool(f"{source.name}, every row", features, norms, None, None),
        paper.TRILLION_PAIRS,
        *truth,
        (*images.counts, *challenge.count_truth(*truth)),
        {},
    )
