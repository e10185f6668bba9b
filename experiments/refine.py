"""`gfa refine`, from a checkout."""

from gfa_jax.programs import cli, refine

if __name__ == "__main__":
    cli.run(refine)
