"""`gfa convert`, from a checkout."""

from gfa_jax.programs import cli, convert

if __name__ == "__main__":
    cli.run(convert)
