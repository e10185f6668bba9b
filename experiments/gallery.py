"""`gfa gallery`, from a checkout."""

from gfa_jax.programs import cli, gallery

if __name__ == "__main__":
    cli.run(gallery)
