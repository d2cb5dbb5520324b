"""Which state a run ends with: interrupted, diverged, continued, streamed."""

import warnings

import numpy as np
import pytest

import skvardict.training.loop as loop
from skvardict import ThresholdedVSC, VarianceDictionaryLearning
from skvardict.training import TrainingDivergedError


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).standard_normal((300, 10)).astype(np.float32)


def small(**parameters):
    return VarianceDictionaryLearning(
        **{"n_components": 6, "max_iter": 3, "batch_size": 50, "early_stopping": False, "random_state": 0, **parameters}
    )


def interrupt(monkeypatch, name, call):
    original, calls = getattr(loop, name), []

    def function(*args):
        calls.append(name)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(loop, name, function)


def assert_same_arrays(first, second):
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


@pytest.mark.filterwarnings("ignore:.*fit was interrupted")
def test_an_interrupted_fit_goes_on_from_the_last_whole_epoch(X, monkeypatch):
    interrupt(monkeypatch, "_step", 15)  # six steps an epoch
    model = small(warm_start=True).fit(X)
    monkeypatch.undo()
    assert (model.n_iter_, model.n_steps_) == (2, 12)
    whole = small(max_iter=5).fit(X)
    assert_same_arrays(model.fit(X).params_, whole.params_)
    assert model.history_["energy"] == whole.history_["energy"]


@pytest.mark.filterwarnings("ignore:.*fit was interrupted")
def test_an_epoch_without_validation_does_not_count(X, monkeypatch):
    interrupt(monkeypatch, "_evaluate", 3)
    model = small().fit(X, X_val=X[:50])
    assert model.n_iter_ == len(model.history_["epoch"]) == 2


def test_a_continued_fit_interrupted_at_once_leaves_the_model_alone(X, monkeypatch):
    model = small(warm_start=True).fit(X)
    before = dict(model.params_)
    interrupt(monkeypatch, "_step", 4)
    with pytest.warns(UserWarning, match=r"after 3 complete epochs; the state of epoch 3 is kept") as caught:
        model.fit(X)
    assert caught[0].filename == __file__
    assert_same_arrays(model.params_, before)
    assert_same_arrays(model._train_state, small().fit(X)._train_state)


def test_a_continued_fit_returns_nothing_worse_than_it_was_left_with(X):
    settings = {"n_components": 20, "learning_rate": 0.1, "encoder_learning_rate": 3e-2, "random_state": 4}
    model = small(max_iter=8, warm_start=True, batch_size=250, **settings).fit(X[:200], X_val=X[200:])
    best, epoch, params = min(model.history_["validation_energy"]), model.best_epoch_, dict(model.params_)
    assert epoch < 8
    model.set_params(max_iter=2).fit(X[:200], X_val=X[200:])
    assert min(model.history_["validation_energy"][8:]) > best  # the new epochs are worse
    assert model.best_epoch_ == epoch
    assert_same_arrays(model.params_, params)


@pytest.mark.parametrize("with_validation", [True, False])
def test_weights_that_overflow_in_the_last_step_are_noticed(X, with_validation):
    model = small(max_iter=1, batch_size=300, learning_rate=1e39)
    with pytest.raises(TrainingDivergedError, match=r"decoder\.components became non-finite in epoch 1\."):
        model.fit(X, X_val=X[:50] if with_validation else None)
    with pytest.raises(TrainingDivergedError, match="became non-finite"):
        model.partial_fit(X)


def test_a_divergence_names_the_epoch_that_is_kept(X, monkeypatch):
    original = loop._step

    def step(session, batch, sums):
        losses = original(session, batch, sums)
        return {name: loss * float("nan") for name, loss in losses.items()} if session.n_epochs == 8 else losses

    monkeypatch.setattr(loop, "_step", step)
    model = small(max_iter=9, learning_rate=0.3)
    with pytest.raises(
        TrainingDivergedError, match=r"in epoch 9, batch 1 .*The state after epoch (\d+) is kept"
    ) as error:
        model.fit(X, X_val=X[:100])
    assert model.best_epoch_ < 8
    assert f"after epoch {model.best_epoch_} is kept" in str(error.value)


def test_a_single_pass_over_a_stream_trains(X):
    # The rate begins at a thousandth and the noise at a tenth: that would be the whole pass.
    settings = {"encoder_hidden_layer_sizes": (16,), "batch_size": 20, "random_state": 0}
    model = ThresholdedVSC(8, max_iter=1, **settings).fit_stream(iter([X]))
    still = ThresholdedVSC(8, max_iter=1, learning_rate=1e-30, **settings).fit_stream(iter([X]))
    moved = [model.params_[name] - still.params_[name] for name in model.params_ if name.startswith("encoder")]
    assert np.sqrt(sum(float((change**2).sum()) for change in moved)) > 0.05
    assert model.history_["noise_warmup"] == [1.0]


def test_warnings_point_to_the_caller(X):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        small(alpha=1e3, beta=0.0, max_iter=1).fit(X)
    (collapse,) = [warning for warning in caught if "collapsed" in str(warning.message)]
    assert collapse.filename == __file__
