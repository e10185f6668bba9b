"""Side-by-side timings: each stage against what a person would write instead."""
