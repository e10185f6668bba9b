"""Runs experiments.studies.gradient_modes."""

from experiments.studies import gradient_modes
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(gradient_modes)
