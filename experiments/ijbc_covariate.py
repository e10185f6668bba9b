"""Runs experiments.paper.ijbc_covariate."""

from experiments.paper import ijbc_covariate
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(ijbc_covariate)
