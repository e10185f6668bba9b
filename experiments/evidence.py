"""Runs experiments.studies.evidence."""

from experiments.studies import evidence
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(evidence)
