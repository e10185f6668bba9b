"""Runs experiments.paper.ytf."""

from experiments.paper import ytf
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(ytf)
