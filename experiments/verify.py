"""`gfa verify`, from a checkout."""

from gfa_jax.programs import cli, verify

if __name__ == "__main__":
    cli.run(verify)
