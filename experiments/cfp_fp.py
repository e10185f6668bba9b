"""Runs experiments.paper.cfp_fp."""

from experiments.paper import cfp_fp
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(cfp_fp)
