"""Metrics of verification, retrieval and clustering, and their uncertainty."""

from gfa_jax.metrics.all_pairs import AllPairs, all_pairs_roc, restrict_genuine
from gfa_jax.metrics.bootstrap import (
    ResampledTprs,
    TprInterval,
    gain_intervals,
    resample_all_pairs_tpr,
    resample_tpr,
    tpr_intervals,
)
from gfa_jax.metrics.clustering import (
    ClusterScores,
    PrecisionRecall,
    cluster_purity,
    cluster_scores,
)
from gfa_jax.metrics.detection import (
    STANDARD_PRIORS,
    Calibration,
    actual_dcf,
    calibrate,
    cllr,
    fit_calibration,
    min_cllr,
    min_dcf,
)
from gfa_jax.metrics.histogram import ScoreHistogram, score_histogram
from gfa_jax.metrics.identification import (
    DEFAULT_FPIRS,
    Identification,
    dir_at_fpir,
    identify,
    identify_scores,
    resample_dir,
)
from gfa_jax.metrics.operating_point import (
    DEFAULT_FPRS,
    MIN_FALSE_ACCEPTS,
    RULES,
    OperatingPoint,
    check_targets,
    tpr_at_fpr,
)
from gfa_jax.metrics.retrieval import (
    DEFAULT_RANKS,
    Rankings,
    bootstrap_rankings,
    cmc,
    map_at_r,
    mean_average_precision,
    rank_gallery,
    rank_scores,
)
from gfa_jax.metrics.roc import Roc, auc, eer, roc_curve
from gfa_jax.metrics.scored_pairs import ScoredPairs, pair_scores

__all__ = [
    "DEFAULT_FPIRS",
    "DEFAULT_FPRS",
    "DEFAULT_RANKS",
    "MIN_FALSE_ACCEPTS",
    "RULES",
    "STANDARD_PRIORS",
    "AllPairs",
    "Calibration",
    "ClusterScores",
    "Identification",
    "OperatingPoint",
    "PrecisionRecall",
    "Rankings",
    "ResampledTprs",
    "Roc",
    "ScoreHistogram",
    "ScoredPairs",
    "TprInterval",
    "actual_dcf",
    "all_pairs_roc",
    "auc",
    "bootstrap_rankings",
    "calibrate",
    "check_targets",
    "cllr",
    "cluster_purity",
    "cluster_scores",
    "cmc",
    "dir_at_fpir",
    "eer",
    "fit_calibration",
    "gain_intervals",
    "identify",
    "identify_scores",
    "map_at_r",
    "mean_average_precision",
    "min_cllr",
    "min_dcf",
    "pair_scores",
    "rank_gallery",
    "rank_scores",
    "resample_all_pairs_tpr",
    "resample_dir",
    "resample_tpr",
    "restrict_genuine",
    "roc_curve",
    "score_histogram",
    "tpr_at_fpr",
    "tpr_intervals",
]
