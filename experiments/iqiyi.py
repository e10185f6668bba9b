"""Runs experiments.paper.iqiyi."""

from experiments.paper import iqiyi
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(iqiyi)
