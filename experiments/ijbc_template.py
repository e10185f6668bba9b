"""Runs experiments.paper.ijbc_template."""

from experiments.paper import ijbc_template
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(ijbc_template)
