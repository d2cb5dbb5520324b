"""Keywords that a fit does not have are refused in the name of the class that the user knows."""

import inspect

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import has_fit_parameter

import skvardict
from skvardict import SparseVAE, VarianceDictionaryLearning

X = np.random.default_rng(0).standard_normal((30, 6))
ESTIMATORS = [
    value for value in (getattr(skvardict, name) for name in skvardict.__all__) if hasattr(value, "partial_fit")
]


@pytest.mark.parametrize("method", ["fit", "partial_fit", "fit_stream", "fit_transform"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_sample_weights_are_refused_with_what_to_do(estimator, method):
    name = "fit" if method == "fit_transform" else method
    with pytest.raises(TypeError, match=rf"{estimator.__name__}\.{name} .*'sample_weight'.* draw rows by weight"):
        getattr(estimator(3), method)(X, sample_weight=np.ones(30))


def test_in_a_pipeline_too():
    coder = make_pipeline(VarianceDictionaryLearning(3))
    with pytest.raises(TypeError, match=r"VarianceDictionaryLearning\.fit .*All rows count alike"):
        coder.fit(X, variancedictionarylearning__sample_weight=np.ones(30))


def test_scikit_learn_is_told_so():
    assert len(ESTIMATORS) >= 6
    assert not any(has_fit_parameter(estimator, "sample_weight") for estimator in ESTIMATORS)
    assert list(inspect.signature(SparseVAE.fit).parameters)[:4] == ["self", "X", "y", "X_val"]


def test_other_unknown_keywords_say_which_there_are():
    with pytest.raises(TypeError, match=r"SparseVAE\.fit .*'epochs'\. It takes X, y, X_val, checkpoint"):
        SparseVAE(3).fit(X, epochs=3)


def test_drawn_rows_stand_for_weights():
    """What the message advises: in the expectation every row comes as often as its weight says."""
    rng, w = np.random.default_rng(0), np.arange(1.0, 6.0)
    drawn = rng.choice(len(w), size=100_000, p=w / w.sum())
    np.testing.assert_allclose(np.bincount(drawn) / 100_000, w / w.sum(), atol=0.01)
