"""Runs experiments.studies.holdout."""

from experiments.studies import holdout
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(holdout)
