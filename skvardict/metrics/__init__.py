"""Functions of arrays that say how good a reconstruction is and how a code is used."""

from skvardict.metrics._codes import dead_component_mask, dead_components, sparsity
from skvardict.metrics._collapse import active_components, feature_collapse, posterior_collapse
from skvardict.metrics._frechet import frechet_distance, inception_features
from skvardict.metrics._generator import (
    SparseCodingObjective,
    estimated_dictionary,
    point_biserial,
    sparse_coding_objective,
)
from skvardict.metrics._information import multi_information
from skvardict.metrics._posterior import gradient_snr, iwae_bound, jaccard_consistency
from skvardict.metrics._reconstruction import psnr, r2

__all__ = [
    "SparseCodingObjective",
    "active_components",
    "dead_component_mask",
    "dead_components",
    "estimated_dictionary",
    "feature_collapse",
    "frechet_distance",
    "gradient_snr",
    "inception_features",
    "iwae_bound",
    "jaccard_consistency",
    "multi_information",
    "point_biserial",
    "posterior_collapse",
    "psnr",
    "r2",
    "sparse_coding_objective",
    "sparsity",
]
