"""Readers of evaluation protocols, each from the files as they are distributed.

What a reader returns carries `counts`: what was found beside what was published.
Print both, and warn of every one of `mismatches(counts)`.
"""

from experiments.paper.protocols.cfp import read_cfp
from experiments.paper.protocols.counts import Count, mismatches
from experiments.paper.protocols.ijbc_covariate import (
    CovariateProtocol,
    read_ijbc_covariate,
)
from experiments.paper.protocols.ijbc_template import (
    TemplateProtocol,
    read_ijbc_nist_templates,
    read_ijbc_templates,
)
from experiments.paper.protocols.lfr import FileList, read_lfr_filelist
from experiments.paper.protocols.lfw import read_lfw_pairs
from experiments.paper.protocols.market import MarketImages, read_market
from experiments.paper.protocols.names import (
    PairList,
    match_folders,
    match_names,
    read_names,
)
from experiments.paper.protocols.ytf import read_ytf_splits

__all__ = [
    "Count",
    "CovariateProtocol",
    "FileList",
    "MarketImages",
    "PairList",
    "TemplateProtocol",
    "match_folders",
    "match_names",
    "mismatches",
    "read_cfp",
    "read_ijbc_covariate",
    "read_ijbc_nist_templates",
    "read_ijbc_templates",
    "read_lfr_filelist",
    "read_lfw_pairs",
    "read_market",
    "read_names",
    "read_ytf_splits",
]
