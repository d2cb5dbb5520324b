"""Components that codes of the solver use and those of the encoder, which `transform` returns, do not."""

import warnings

import numpy as np
import pytest
import torch
from scipy.sparse import csc_array, csr_matrix
from torch import nn

import skvardict
from skvardict import StandardDictionaryLearning, VarianceDictionaryLearning
from skvardict.training import Adam, CheckpointMismatchError

X = np.random.default_rng(0).standard_normal((80, 8)).astype(np.float32)


class Mute(nn.Module):
    """An encoder that leaves all but one component at zero."""

    def __init__(self, n_features, n_components):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_features, 1))
        self.n_components = n_components

    def forward(self, X):
        return nn.functional.pad((X @ self.weight).relu(), (0, self.n_components - 1))


def make(**parameters):
    settings = {
        "encoder": Mute,
        "gamma": 0.01,
        "alpha": 1e-3,
        "optimizer": Adam(1e-3),
        "max_iter": 5,
        "random_state": 0,
    }
    return StandardDictionaryLearning(6, **settings | parameters)


def test_both_are_counted():
    with pytest.warns(UserWarning, match="the encoder leaves 5 of 6 components unused"):
        model = make().fit(X)
    assert (model.n_dead_, model.n_dead_encoder_) == (0, 5)
    assert model.history_["n_dead_encoder"] == [5] * 5
    assert ((model.transform(X) != 0).sum(axis=0) == 0).sum() == 5


def test_the_warning_says_what_to_do_and_keeps_still_where_the_solver_gives_codes():
    with pytest.warns(UserWarning, match=r"Set 'solver' as transform_algorithm \(now 'auto'\) or raise max_iter"):
        make().fit(X)
    with warnings.catch_warnings(action="error"):
        make(transform_algorithm="solver").fit(X)


def test_without_an_encoder_there_is_one_count(tmp_path):
    model = VarianceDictionaryLearning(6, max_iter=2, random_state=0).fit(X)
    assert isinstance(model.n_dead_encoder_, int)
    model.save(tmp_path / "model")
    assert skvardict.load(tmp_path / "model").n_dead_encoder_ == model.n_dead_encoder_
    model.set_params(encoder=None).fit(X)
    assert not hasattr(model, "n_dead_encoder_")
    assert "n_dead_encoder" not in model.history_


@pytest.mark.parametrize("kind", [csr_matrix, csc_array])
def test_sparse_codes_are_decoded(kind):
    model = VarianceDictionaryLearning(6, max_iter=2, random_state=0).fit(X)
    codes = model.transform(X)
    np.testing.assert_array_equal(model.inverse_transform(kind(codes)), model.inverse_transform(codes))
    with pytest.raises(ValueError, match=r"codes of shape \(n_samples, 6\), but got \(80, 5\)"):
        model.inverse_transform(kind(codes[:, :5]))


def test_a_longer_fit_is_another_one_and_says_how_to_add_epochs(tmp_path):
    model = VarianceDictionaryLearning(6, max_iter=2, random_state=0)
    model.fit(X, checkpoint=tmp_path / "run")
    with pytest.raises(CheckpointMismatchError, match="To add epochs to a finished fit, set warm_start=True"):
        VarianceDictionaryLearning(6, max_iter=4, random_state=0).fit(X, checkpoint=tmp_path / "run")
    with pytest.raises(CheckpointMismatchError) as caught:
        VarianceDictionaryLearning(5, max_iter=4, random_state=0).fit(X, checkpoint=tmp_path / "run")
    assert "To add epochs" not in str(caught.value)
    model.set_params(warm_start=True, max_iter=3).fit(X, checkpoint=tmp_path / "more")
    assert model.n_iter_ == 5


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [(StandardDictionaryLearning, "what rows have in common"), (VarianceDictionaryLearning, "Standard deviations")],
)
def test_one_row_is_refused_for_a_reason_of_the_model(estimator, reason):
    with pytest.raises(ValueError, match=rf"{estimator.__name__} expects at least 2 rows.*n_samples=1.*{reason}"):
        estimator(3).fit(X[:1])
