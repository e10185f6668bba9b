"""`python -m gfa_jax refine …`: the command `gfa` where it is not on the path."""

from gfa_jax.programs.main import main

if __name__ == "__main__":
    main()
