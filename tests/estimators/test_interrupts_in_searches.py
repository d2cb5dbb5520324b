"""Ctrl-C ends a search or a cross-validation at once, not only the fit that it falls into."""

import warnings

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline

from skvardict import SparseVAE, StandardDictionaryLearning, VarianceDictionaryLearning
from skvardict.networks import MLP
from skvardict.preprocessing import GlobalStandardizer

X = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
GRID = {"n_components": [3, 4, 5]}
CODERS = {
    "VDL": VarianceDictionaryLearning(4, max_iter=3, random_state=0),
    "online": StandardDictionaryLearning(4, encoder=None, max_iter=3, random_state=0),
    "SVAE": SparseVAE(4, encoder=MLP((6,)), max_iter=3, random_state=0),
}
SEARCHES = {
    "grid": lambda coder: GridSearchCV(coder, GRID, cv=3, n_jobs=1).fit(X),
    "random": lambda coder: RandomizedSearchCV(coder, GRID, n_iter=3, cv=3, n_jobs=1, random_state=0).fit(X),
    "scores": lambda coder: cross_val_score(coder, X, cv=3, n_jobs=1),
    "validation": lambda coder: cross_validate(coder, X, cv=3, n_jobs=1, error_score=np.nan),
    "pipeline": lambda coder: cross_val_score(make_pipeline(GlobalStandardizer(), coder), X, cv=3, n_jobs=1),
}


@pytest.mark.parametrize("coder", CODERS.values(), ids=CODERS)
@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_the_first_interrupt_is_the_last_step(search, coder, meddle):
    steps = []

    def interrupt(session):
        steps.append(session.n_epochs)
        if len(steps) == 2:
            raise KeyboardInterrupt

    with meddle(interrupt), warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(KeyboardInterrupt):
            search(coder)
    assert len(steps) == 2
