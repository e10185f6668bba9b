"""`gfa cluster`, from a checkout."""

from gfa_jax.programs import cli, cluster

if __name__ == "__main__":
    cli.run(cluster)
