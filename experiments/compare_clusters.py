"""Runs experiments.studies.compare_clusters."""

from experiments.studies import compare_clusters
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(compare_clusters)
