"""Runs experiments.training.semi_supervised."""

from experiments.training import semi_supervised
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(semi_supervised)
