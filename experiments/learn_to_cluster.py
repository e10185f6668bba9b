"""Runs experiments.studies.learn_to_cluster."""

from experiments.studies import learn_to_cluster
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(learn_to_cluster)
