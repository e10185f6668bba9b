"""Runs experiments.studies.persistence."""

from experiments.studies import persistence
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(persistence)
