"""What the command `gfa` runs: each program, and what the programs share."""
