"""The squared error of every row, by all estimators."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

from skvardict import SparseVAE, SpikeAndSlabVSC, StandardDictionaryLearning, ThresholdedVSC, VarianceDictionaryLearning
from skvardict.networks import MLP

pytestmark = pytest.mark.filterwarnings("ignore:.*solver did not converge:sklearn.exceptions.ConvergenceWarning")
X = np.random.default_rng(0).standard_normal((60, 8))
QUICK = {"max_iter": 2, "random_state": 0}
MAKERS = {
    "VDL": lambda: VarianceDictionaryLearning(5, **QUICK),
    "VDL-NL": lambda: VarianceDictionaryLearning(5, decoder="mlp", **QUICK),
    "signed and split": lambda: VarianceDictionaryLearning(5, positive_code=False, split_sign=True, **QUICK),
    "solver": lambda: StandardDictionaryLearning(5, encoder=None, **QUICK),
    "SVAE": lambda: SparseVAE(5, encoder=MLP((8,)), **QUICK),
    "VSC": lambda: ThresholdedVSC(5, encoder=MLP((8,)), **QUICK),
    "spike and slab": lambda: SpikeAndSlabVSC(5, encoder=MLP((8,)), **QUICK),
}


@pytest.fixture(scope="module", params=MAKERS.values(), ids=MAKERS)
def fitted(request):
    return request.param().fit(X)


def test_it_is_the_mean_square_over_features_of_what_is_left_of_each_row(fitted):
    expected = ((X - fitted.inverse_transform(fitted.transform(X))) ** 2).mean(axis=1)
    np.testing.assert_allclose(fitted.reconstruction_error(X), expected, rtol=1e-10)


def test_score_and_energy_follow_from_it(fitted):
    error = fitted.reconstruction_error(X).mean()
    assert fitted.score(X) == pytest.approx(1 - error / X.var(axis=0).mean(), rel=1e-10)
    if hasattr(fitted, "energy") and not hasattr(fitted, "elbo"):  # of variational models it is that of draws
        assert fitted.energy(X)["reconstruction"] == pytest.approx(error, rel=1e-10)


def test_rows_keep_their_container_and_do_not_depend_on_others(fitted):
    errors = fitted.reconstruction_error(torch.from_numpy(X))
    assert isinstance(errors, torch.Tensor)
    np.testing.assert_array_equal(errors.numpy(), fitted.reconstruction_error(X))
    np.testing.assert_allclose(fitted.reconstruction_error(X[3:4]), errors[3:4], rtol=1e-6)
    assert fitted.reconstruction_error(X.astype(np.float32)).dtype == np.float32


def test_long_input_is_read_in_chunks(fitted, monkeypatch):
    expected = fitted.reconstruction_error(X)
    monkeypatch.setattr("skvardict.rows.rows.Rows.slices.__defaults__", (7,))
    np.testing.assert_allclose(fitted.reconstruction_error(X), expected, rtol=1e-10)


def test_it_needs_a_fit():
    with pytest.raises(NotFittedError):
        VarianceDictionaryLearning().reconstruction_error(X)
