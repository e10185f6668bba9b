"""Command-line programs over gfa_jax, run from the checkout: `python -m experiments.…`.

Each main only parses flags and calls functions; what they share lives in cli.py
(errors, progress, stages), inputs.py, evaluation.py and outputs.py.
"""

import gfa_jax as gfa_jax  # what it does first is for programs
