"""Runs experiments.studies.cluster_scale."""

from experiments.studies import cluster_scale
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(cluster_scale)
