"""Runs experiments.paper.market1501."""

from experiments.paper import market1501
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(market1501)
