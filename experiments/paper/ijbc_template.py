"""IJB-C test 1, 15.7 million pairs of templates (paper, §4.2, Tab. 2, Fig. 9 and 10).

    python -m experiments.ijbc_template --features=faces.npy --meta=IJBC/meta
    python -m experiments.ijbc_template --features=faces.npy --nist=IJB-C/protocols

--meta is a folder with insightface's ijbc_face_tid_mid.txt and
ijbc_template_pair_label.txt (and, for --pooling=media, ijbc_name_5pts_score.txt where
it is there), or the same of ijbb; feature row i is the face of line i. A face of zeros
was not detected and adds nothing; a template without any other face is left out, with
its pairs, and counted. --nist is a folder with NIST's
ijbc_1N_gallery_G1.csv, ijbc_1N_gallery_G2.csv, ijbc_1N_probe_mixed.csv and
ijbc_11_G1_G2_matches.csv; the feature rows follow the faces of those three lists, one
list after the other. The pool that is refined is every template.
"""

import pathlib

import numpy as np

import gfa_jax as gfa
from experiments.paper import grid, pair_lists, paper, protocols, tables
from gfa_jax import datasets
from gfa_jax.programs import cli, flags, inputs, pooled

FLAGS = flags.FLAGS
flags.adopt(grid)
flags.adopt(inputs, "features", "features_key", "dim", "seed")

flags.DEFINE_input("meta", None, "Folder of insightface's lists.")
flags.DEFINE_input("nist", None, "Folder of NIST's lists, instead of --meta.")
flags.DEFINE_enum(
    "pooling",
    "mean",
    ["mean", "media"],
    "mean: plain average of a template's faces, the paper's; media: insightface's, a "
    "video counts as one image and detector scores weigh where there are any.",
)
flags.DEFINE_input("flipped", None, "Features of the mirrored faces, for media.")
flags.DEFINE_string("output_dir", "outputs/ijbc_template", "Folder of the results.")
flags.require("features")


def main() -> None:
    """Sweeps the grid of Tab. 2."""
    cli.keep_compiled_programs()
    tables.run(_load, folder=FLAGS.output_dir)


def _load() -> grid.Task:
    if (FLAGS.meta is None) == (FLAGS.nist is None):
        raise ValueError("name one of --meta and --nist")
    if FLAGS.flipped is not None and FLAGS.pooling != "media":
        raise ValueError("--flipped is for --pooling=media")
    protocol = _read_meta() if FLAGS.nist is None else _read_nist()
    datasets.check_pairs(protocol.pairs, len(protocol.template_ids))
    templates, pairs = _without_empty(_pool(protocol), protocol.pairs)
    pool = pooled.as_pool(templates)._replace(pairs=pairs)
    labels = pair_lists.link_genuine(pairs, len(templates))
    empty = len(protocol.template_ids) - len(templates)
    notes = {
        "templates_without_a_face": empty,
        "pooling": FLAGS.pooling,
        "detector_scores": FLAGS.pooling == "media" and protocol.scores is not None,
        "faces": len(protocol.names),
    }
    pool = pair_lists.with_labels(pool, labels)
    return grid.Task(pool, paper.IJBC_TEMPLATE, protocol.counts, notes=notes)


def _without_empty(
    templates: np.ndarray, pairs: datasets.Pairs
) -> tuple[np.ndarray, datasets.Pairs]:
    """Leaves out the zero templates, with their pairs."""
    kept = np.any(templates, axis=1)
    if kept.all():
        return templates, pairs
    cli.warn(f"{np.count_nonzero(~kept)} of {len(kept)} templates have no face")
    stays = kept[pairs.indices].all(axis=1)
    indices = (np.cumsum(kept) - 1)[pairs.indices[stays]]
    assert pairs.same is not None
    return templates[kept], datasets.Pairs(indices, pairs.same[stays])


def _read_meta() -> protocols.TemplateProtocol:
    folder = pathlib.Path(FLAGS.meta)
    is_ijbb = (folder / "ijbb_face_tid_mid.txt").exists()
    prefix = "ijbb" if is_ijbb else "ijbc"
    scores = folder / f"{prefix}_name_5pts_score.txt"
    return protocols.read_ijbc_templates(
        folder / f"{prefix}_face_tid_mid.txt",
        folder / f"{prefix}_template_pair_label.txt",
        name_5pts_score=scores if scores.exists() else None,
        progress=cli.progress,
    )


def _read_nist() -> protocols.TemplateProtocol:
    folder = pathlib.Path(FLAGS.nist)
    return protocols.read_ijbc_nist_templates(
        [folder / f"ijbc_1N_gallery_{name}.csv" for name in ("G1", "G2")],
        folder / "ijbc_1N_probe_mixed.csv",
        folder / "ijbc_11_G1_G2_matches.csv",
        progress=cli.progress,
    )


def _pool(protocol: protocols.TemplateProtocol) -> np.ndarray:
    num_faces, num_templates = len(protocol.names), len(protocol.template_ids)
    faces = pooled.read_rows(FLAGS.features, num_faces)
    if FLAGS.pooling == "mean":
        return gfa.streaming.pool(
            faces,
            protocol.segments,
            num_segments=num_templates,
            progress=cli.progress,
        )
    flipped = FLAGS.flipped and pooled.read_rows(FLAGS.flipped, num_faces)
    templates = gfa.pooling.pool_media(
        faces,
        protocol.segments,
        protocol.media,
        num_templates=num_templates,
        flipped=flipped,
        scores=protocol.scores,
    )
    return np.asarray(templates)
