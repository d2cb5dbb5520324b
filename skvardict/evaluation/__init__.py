"""Experiments on any transformer with an inverse: how sparse, how exact, how robust, how useful for few labels."""

from skvardict.evaluation._codes import evaluate_codes
from skvardict.evaluation._denoising import denoising_table
from skvardict.evaluation._labels import low_label_curve, low_label_differences, low_label_summary
from skvardict.evaluation._lista_classifier import LISTAClassifier
from skvardict.evaluation._regret import regret_curve, regret_summary
from skvardict.evaluation._store import fit_or_load

__all__ = [
    "LISTAClassifier",
    "denoising_table",
    "evaluate_codes",
    "fit_or_load",
    "low_label_curve",
    "low_label_differences",
    "low_label_summary",
    "regret_curve",
    "regret_summary",
]
