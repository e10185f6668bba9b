"""`gfa streamed`, from a checkout."""

from gfa_jax.programs import cli, streamed

if __name__ == "__main__":
    cli.run(streamed)
