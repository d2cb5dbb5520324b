"""Functions of arrays that say how good a reconstruction is and how a code is used."""

from skvardict.metrics._codes import dead_component_mask, dead_components, sparsity
from skvardict.metrics._reconstruction import psnr, r2

__all__ = ["dead_component_mask", "dead_components", "psnr", "r2", "sparsity"]
