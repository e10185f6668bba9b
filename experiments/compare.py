"""Runs experiments.studies.compare."""

from experiments.studies import compare
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(compare)
