"""Settings chosen without labels: threshold, number of neighbours, outliers."""

from gfa_jax.selection.outliers import find_outliers, isolate

__all__ = ["find_outliers", "isolate"]
