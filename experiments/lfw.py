"""Runs experiments.paper.lfw."""

from experiments.paper import lfw
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(lfw)
