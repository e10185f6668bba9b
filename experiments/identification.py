"""Runs experiments.studies.identification."""

from experiments.studies import identification
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(identification)
