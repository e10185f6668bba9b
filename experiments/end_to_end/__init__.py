"""An encoder that is trained under the aggregation, beside one that is not.

    turning ──► encoders ──► study ──► tables

flax is imported where it is used; `pip install 'gfa_jax[train]'`.
"""
