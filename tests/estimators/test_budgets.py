"""Budgets that fit the data: rows per batch and epochs where none are given, and early stopping under them."""

import numpy as np
import pytest

from skvardict import StandardDictionaryLearning, VarianceDictionaryLearning, WeightDecayDictionaryLearning
from skvardict.training import Adam, CosineRate, EarlyStopping, OnlineUpdate

pytestmark = pytest.mark.filterwarnings("ignore:.*mean square of X:UserWarning")


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)


def plan_of(model, n_rows, n_features=64):
    model.n_features_in_ = n_features
    plan = model._plan(n_rows)
    return plan.batch_size, plan.max_epochs


# --- the numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "max_iter"),
    [(20, 32, 1200), (150, 37, 240), (1000, 125, 150), (2499, 125, 60), (2500, 200, 10), (5000, 200, 10)],
)
def test_small_data_get_small_batches_and_many_epochs(n_rows, batch_size, max_iter):
    model = VarianceDictionaryLearning(64)
    assert plan_of(model, n_rows) == (batch_size, max_iter)
    n_batches = -(-n_rows // batch_size)
    assert (max_iter - 1) * n_batches < 1200 <= max_iter * n_batches or max_iter == 10


@pytest.mark.parametrize(("n_rows", "max_iter"), [(20, 700), (150, 140), (1000, 88), (5000, 10)])
def test_a_dictionary_of_more_weights_is_trained_shorter(n_rows, max_iter):
    assert plan_of(VarianceDictionaryLearning(65), n_rows)[1] == max_iter


@pytest.mark.parametrize(
    ("n_rows", "batch_size", "max_iter"), [(20, 32, 400), (150, 32, 80), (1000, 125, 50), (5000, 512, 15)]
)
@pytest.mark.parametrize(
    "model",
    [StandardDictionaryLearning(64, encoder=None), VarianceDictionaryLearning(64, optimizer=OnlineUpdate())],
    ids=["automatic", "asked for"],
)
def test_online_updates_need_fewer_steps(model, n_rows, batch_size, max_iter):
    assert plan_of(model, n_rows) == (batch_size, max_iter)


def test_a_stream_whose_length_nobody_knows_gets_the_budget_of_many_rows():
    assert plan_of(VarianceDictionaryLearning(64), 0) == (200, 10)
    assert plan_of(StandardDictionaryLearning(64, encoder=None), 0) == (512, 15)


def test_what_is_given_is_taken():
    assert plan_of(VarianceDictionaryLearning(64, batch_size=7, max_iter=3), 1000) == (7, 3)
    # ... and what is not fits it: 1,200 steps in batches of 500
    assert plan_of(VarianceDictionaryLearning(64, batch_size=500), 1000) == (500, 600)


# --- fits -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        VarianceDictionaryLearning(4, encoder=None, random_state=0),
        StandardDictionaryLearning(4, encoder=None, random_state=0),
        WeightDecayDictionaryLearning(4, encoder=None, weight_decay=0.01, random_state=0),
    ],
    ids=["VDL", "SDL", "WDL"],
)
def test_an_automatic_fit_runs_its_budget(X, model):
    model.fit(X)
    batch_size, max_iter = plan_of(model, 300, 8)
    assert (batch_size, max_iter) == (37, 45)
    assert model.n_iter_ == 45
    assert model.n_steps_ == 45 * 9
    assert "validation_energy" not in model.history_  # no rows are held out


def test_a_stream_runs_its_budget(X):
    model = VarianceDictionaryLearning(4, random_state=0).fit_stream([X[:200], X[200:]])
    assert (model.n_iter_, model.n_steps_) == (10, 20)


def test_an_iterator_needs_one_epoch(X):
    with pytest.raises(ValueError, match="can be read once, but max_iter='auto' epochs"):
        VarianceDictionaryLearning(4).fit_stream(iter([X]))
    assert VarianceDictionaryLearning(4, max_iter=1, random_state=0).fit_stream(iter([X])).n_iter_ == 1


def test_partial_fit_is_one_epoch_in_batches_of_the_budget(X):
    model = VarianceDictionaryLearning(4, random_state=0).partial_fit(X)
    assert (model.n_iter_, model.n_steps_) == (1, 4)  # of 75 rows
    assert model.partial_fit(X[:10]).n_steps_ == 5


# --- early stopping ---------------------------------------------------------------------------------------------------

AT_ONCE = EarlyStopping(n_iter_no_change=1, tol=0.9)


def small(**parameters):
    return VarianceDictionaryLearning(**{"n_components": 4, "max_iter": 12, "random_state": 0, **parameters})


@pytest.mark.parametrize(
    "optimizer",
    ["auto", Adam(1e-3, schedule=CosineRate()), Adam(1e-3, encoder_schedule=CosineRate())],
    ids=["automatic", "both", "encoder"],
)
def test_early_stopping_never_judges_a_rate_that_is_on_its_way(X, optimizer):
    model = small(optimizer=optimizer, early_stopping=AT_ONCE).fit(X)
    assert model.n_iter_ == 12
    assert model.best_epoch_ == 1 + int(np.argmin(model.history_["validation_energy"]))


@pytest.mark.parametrize("optimizer", [Adam(1e-3), OnlineUpdate()])
def test_it_judges_constant_rates(X, optimizer):
    assert small(optimizer=optimizer, early_stopping=AT_ONCE).fit(X).n_iter_ < 12
