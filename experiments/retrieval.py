"""Runs experiments.paper.retrieval."""

from experiments.paper import retrieval
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(retrieval)
