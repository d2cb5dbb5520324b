"""Which state a run ends with: interrupted, diverged, continued, streamed."""

import signal
import warnings

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from skvardict import ThresholdedVSC, VarianceDictionaryLearning
from skvardict.networks import MLP
from skvardict.training import SGD, Adam, CosineRate, StepDecay, TrainingDivergedError

CONSTANT = Adam(3e-4, encoder_learning_rate=1e-4)  # steps that do not depend on how many follow


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).standard_normal((300, 10)).astype(np.float32)


def small(**parameters):
    return VarianceDictionaryLearning(
        **{"n_components": 6, "max_iter": 3, "batch_size": 50, "early_stopping": False, "random_state": 0, **parameters}
    )


def ctrl_c(call):
    """Return a function that is interrupted when it is called so often."""
    calls = []

    def act(session):
        calls.append(session)
        if len(calls) == call:
            raise KeyboardInterrupt

    return act


def assert_same_arrays(first, second):
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_an_interrupted_fit_goes_on_from_the_last_whole_epoch(X, meddle):
    model = small(warm_start=True, optimizer=CONSTANT)
    with meddle(ctrl_c(15)), pytest.raises(KeyboardInterrupt):  # six steps an epoch
        model.fit(X)
    assert (model.n_iter_, model.n_steps_) == (2, 12)
    whole = small(max_iter=5, optimizer=CONSTANT).fit(X)
    assert_same_arrays(model.fit(X).params_, whole.params_)
    assert model.history_["energy"] == whole.history_["energy"]


def test_an_epoch_without_validation_does_not_count(X, meddle):
    model = small()
    with meddle(ctrl_c(3), before="validation"), pytest.raises(KeyboardInterrupt):
        model.fit(X, X_val=X[:50])
    assert model.n_iter_ == len(model.history_["epoch"]) == 2


def test_a_continued_fit_interrupted_at_once_leaves_the_model_alone(X, meddle):
    model = small(warm_start=True).fit(X)
    before = dict(model.params_)
    with meddle(ctrl_c(4)), pytest.raises(KeyboardInterrupt) as caught:
        model.fit(X)
    assert "after 3 complete epochs; the state after epoch 3 is kept" in caught.value.__notes__[0]
    assert_same_arrays(model.params_, before)
    assert_same_arrays(model._train_state, small().fit(X)._train_state)


def test_a_first_epoch_that_is_interrupted_is_better_than_nothing(X, meddle):
    model, untrained = small(), small()
    with meddle(ctrl_c(4)), pytest.raises(KeyboardInterrupt):
        model.fit(X)
    with meddle(ctrl_c(1)), pytest.raises(KeyboardInterrupt):
        untrained.fit(X)
    assert (model.n_iter_, model.n_steps_, model.history_) == (1, 3, {})
    assert not np.array_equal(model.components_, untrained.components_)
    assert np.isfinite(model.transform(X)).all()


def test_ctrl_c_stops_a_search_and_leaves_the_estimators_usable(X, meddle):
    models = [small(alpha=alpha, optimizer=CONSTANT) for alpha in (0.01, 0.1, 1.0)]
    epochs = []

    def act(session):
        epochs.append(session.n_epochs)
        if len(epochs) == 5:  # the second of the second model
            signal.raise_signal(signal.SIGINT)

    with meddle(act, before="epoch"), pytest.raises(KeyboardInterrupt):
        [model.fit(X) for model in models]
    with pytest.raises(NotFittedError):
        models[2].transform(X)
    assert [model.n_iter_ for model in models[:2]] == [3, 1]
    expected = small(alpha=0.1, max_iter=1, optimizer=CONSTANT).fit(X)
    np.testing.assert_array_equal(models[1].transform(X), expected.transform(X))
    assert_same_arrays(models[1].fit(X).params_, small(alpha=0.1, optimizer=CONSTANT).fit(X).params_)
    epochs.clear()
    with meddle(act, before="epoch"), pytest.raises(KeyboardInterrupt):
        GridSearchCV(small(), {"alpha": [0.01, 0.1, 1.0]}, cv=2).fit(X)
    assert len(epochs) == 5


def test_a_continued_fit_returns_nothing_worse_than_it_was_left_with(X):
    optimizer = Adam(0.1, encoder_learning_rate=3e-2)
    settings = {"n_components": 20, "optimizer": optimizer, "init": "random", "alpha": 0.005, "random_state": 4}
    model = small(max_iter=8, warm_start=True, batch_size=250, **settings).fit(X[:200], X_val=X[200:])
    best, epoch, params = min(model.history_["validation_energy"]), model.best_epoch_, dict(model.params_)
    assert epoch < 8
    model.set_params(max_iter=2).fit(X[:200], X_val=X[200:])
    assert min(model.history_["validation_energy"][8:]) > best  # the new epochs are worse
    assert model.best_epoch_ == epoch
    assert_same_arrays(model.params_, params)


@pytest.mark.parametrize("with_validation", [True, False])
def test_weights_that_overflow_in_the_last_step_are_noticed(X, with_validation):
    model = small(max_iter=1, batch_size=300, optimizer=Adam(1e39, encoder_learning_rate=1e-4))
    with pytest.raises(TrainingDivergedError, match=r"decoder\.components became non-finite in epoch 1\."):
        model.fit(X, X_val=X[:50] if with_validation else None)
    with pytest.raises(TrainingDivergedError, match="became non-finite"):
        model.partial_fit(X)


def test_a_divergence_names_the_epoch_that_is_kept(X, meddle):
    model = small(max_iter=9, optimizer=Adam(0.3, encoder_learning_rate=1e-4))
    said = r"in epoch 9, batch 1 .*The state after epoch (\d+) is kept"
    with meddle(lambda session: session.n_epochs == 8), pytest.raises(TrainingDivergedError, match=said) as error:
        model.fit(X, X_val=X[:100])
    assert model.best_epoch_ < 8
    assert f"after epoch {model.best_epoch_} is kept" in str(error.value)


def test_a_single_pass_over_a_stream_trains(X):
    # The rate begins at a thousandth and the noise at a tenth: that would be the whole pass.
    settings = {"encoder": MLP((16,)), "batch_size": 20, "random_state": 0, "expectation": "draws"}
    model = ThresholdedVSC(8, max_iter=1, **settings).fit_stream(iter([X]))
    still = ThresholdedVSC(
        8,
        max_iter=1,
        optimizer=SGD(
            1e-30,
            dictionary_learning_rate=0.5,
            dictionary_weight_decay=1e-4,
            schedule=CosineRate(0.05),
            dictionary_schedule=StepDecay(0.99, 1),
        ),
        **settings,
    ).fit_stream(iter([X]))
    moved = [model.params_[name] - still.params_[name] for name in model.params_ if name.startswith("encoder")]
    assert np.sqrt(sum(float((change**2).sum()) for change in moved)) > 0.05
    assert model.history_["noise_warmup"] == [1.0]


def test_warnings_point_to_the_caller(X):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        small(alpha=1e3, beta=0.0, max_iter=1).fit(X)
    (collapse,) = [warning for warning in caught if "collapsed" in str(warning.message)]
    assert collapse.filename == __file__
