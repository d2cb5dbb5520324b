"""Codes as scipy matrices: the same values, from every estimator."""

import numpy as np
import pytest
import torch
from scipy.sparse import issparse
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skvardict import SparseVAE, StandardDictionaryLearning, ThresholdedVSC, VarianceDictionaryLearning
from skvardict.networks import MLP

pytestmark = pytest.mark.filterwarnings("ignore:.*solver did not converge:sklearn.exceptions.ConvergenceWarning")
X = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
QUICK = {"n_components": 5, "max_iter": 2, "random_state": 0}
MAKERS = {
    "encoder": lambda: VarianceDictionaryLearning(**QUICK),
    "signed and split": lambda: VarianceDictionaryLearning(positive_code=False, split_sign=True, **QUICK),
    "solver": lambda: StandardDictionaryLearning(encoder=None, **QUICK),
    "posterior": lambda: SparseVAE(encoder=MLP((8,)), **QUICK),
    "thresholded": lambda: ThresholdedVSC(encoder=MLP((8,)), **QUICK),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_values_and_reconstructions_are_the_same(make, monkeypatch):
    model = make().fit(X)
    dense, rebuilt, error = model.transform(X), model.inverse_transform(model.transform(X)), model.score(X)
    monkeypatch.setattr("skvardict.rows.rows.Rows.in_chunks.__defaults__", (7,))  # several pieces
    model.set_params(sparse_output=True)
    codes = model.transform(X)
    assert issparse(codes)
    assert codes.format == "csr"
    assert codes.dtype == np.float32
    np.testing.assert_allclose(codes.toarray(), dense, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(model.inverse_transform(codes), rebuilt, rtol=1e-4, atol=1e-6)
    assert codes.nnz == np.count_nonzero(dense)
    assert (model.encode(X).codes != codes).nnz == 0
    assert model.score(X) == pytest.approx(error, rel=1e-5)


def test_tensors_and_places_for_codes_are_refused():
    model = MAKERS["encoder"]().set_params(sparse_output=True).fit(X)
    with pytest.raises(ValueError, match=r"VarianceDictionaryLearning: sparse_output=True .* but X is a tensor"):
        model.transform(torch.from_numpy(X))
    with pytest.raises(ValueError, match="out= is an array"):
        model.transform(X, out=np.empty((50, 5), np.float32))


def test_a_classifier_takes_them():
    labels = np.random.default_rng(1).integers(2, size=50)
    coder = MAKERS["solver"]().set_params(sparse_output=True)
    assert make_pipeline(coder, LogisticRegression()).fit(X, labels).predict(X).shape == (50,)
