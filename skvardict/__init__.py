"""Sparse representation learning for scikit-learn users, on torch."""

__version__ = "0.1.0"
