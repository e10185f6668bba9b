"""Runs experiments.studies.kmeans_speed."""

from experiments.studies import kmeans_speed
from gfa_jax.programs import cli

if __name__ == "__main__":
    cli.run(kmeans_speed)
