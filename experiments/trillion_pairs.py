"""Runs experiments.paper.trillion_pairs."""

from experiments.paper import trillion_pairs
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(trillion_pairs)
