"""`gfa tune`, from a checkout."""

from gfa_jax.programs import cli, tune

if __name__ == "__main__":
    cli.run(tune)
