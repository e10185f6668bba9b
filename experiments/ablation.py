"""Runs experiments.studies.ablation."""

from experiments.studies import ablation
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(ablation)
