"""An embedding network from images and labels: data, network, head, trainer, study.

    images ──► augmentation ──► network ──► head ──► SGD        (trainer, checkpoints)
    images ──► network ──► features ──► clusters ──► labels ──► (study, pseudo_labeling)

flax, orbax and pillow are imported where they are used; `pip install 'gfa_jax[train]'`.
"""
