"""The parts of `experiments.compare`: the methods, their contest and what they cost."""
