"""Searches over parameters that train the models of all candidates and folds as one program."""

from skvardict.model_selection._search import BatchedGridSearchCV, BatchedRandomizedSearchCV

__all__ = ["BatchedGridSearchCV", "BatchedRandomizedSearchCV"]
