"""scikit-learn's callbacks see the model of every epoch; nothing is made that none asks for."""

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvardict import SparseVAE, StandardDictionaryLearning, VarianceDictionaryLearning
from skvardict.estimators import _training
from skvardict.networks import MLP

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn >= 1.9 has callbacks")
X = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
QUICK = {"n_components": 5, "max_iter": 4, "random_state": 0}
MAKERS = {
    "VDL": lambda **kw: VarianceDictionaryLearning(**QUICK | kw),
    "online": lambda **kw: StandardDictionaryLearning(encoder=None, **QUICK | kw),
    "SVAE": lambda **kw: SparseVAE(encoder=MLP((8,)), **QUICK | kw),
}


def monitor_of_r2():
    # scoring=None fails in scikit-learn 1.9.1 for every estimator: a single score is taken for a dict.
    return callback.ScoringMonitor(scoring={"r2": lambda model, X, y: model.score(X)})


class Callback:
    def setup(self, estimator, context): ...

    def teardown(self, estimator, context): ...

    def on_fit_task_begin(self, estimator, context): ...


class Recorder(Callback):
    """Keeps every fitted estimator, by the name of the task."""

    def __init__(self):
        self.seen = {"epoch": [], "fit": []}

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None, y=None):
        self.seen[context.task_name].append((fitted_estimator, y))


class StopAt(Callback):
    """Ends a fit when R^2 has reached a value."""

    def __init__(self, r2):
        self.r2 = r2

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        return context.task_name == "epoch" and fitted_estimator.score(X) >= self.r2


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_scoring_monitor_logs_every_epoch(make):
    monitor = monitor_of_r2()
    model = make().set_callbacks(monitor).fit(X)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    scores = [row["r2"] for row in rows]
    assert len(scores) == 4
    assert scores[-1] == pytest.approx(model.score(X))
    assert len(set(scores)) == 4


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_model_of_an_epoch_is_that_of_a_fit_stopped_there(make):
    recorder = Recorder()
    model = make().set_callbacks(recorder).fit(X)
    epochs = [fitted for fitted, _ in recorder.seen["epoch"]]
    assert [fitted.n_iter_ for fitted in epochs] == [1, 2, 3, 4]
    assert [len(fitted.history_["energy"]) for fitted in epochs] == [1, 2, 3, 4]
    assert len({fitted.components_.tobytes() for fitted in epochs}) == 4  # none changes as training goes on
    for fitted in (epochs[-1], recorder.seen["fit"][0][0]):
        assert fitted is not model
        np.testing.assert_array_equal(fitted.transform(X), model.transform(X))
    stopped = make().set_callbacks(StopAt(epochs[1].score(X))).fit(X)
    reached = next(number for number, fitted in enumerate(epochs, 1) if fitted.score(X) >= epochs[1].score(X))
    assert stopped.n_iter_ == reached
    np.testing.assert_array_equal(stopped.components_, epochs[reached - 1].components_)


def test_callbacks_change_nothing():
    expected = MAKERS["VDL"]().fit(X)
    model = MAKERS["VDL"]().set_callbacks(Recorder(), monitor_of_r2()).fit(X)
    np.testing.assert_array_equal(model.components_, expected.components_)
    assert "_callback_fit_ctx" not in vars(model)


def test_nothing_is_made_that_no_callback_asks_for(monkeypatch):
    class Counter(Callback):
        n = 0

        def on_fit_task_end(self, estimator, context, *, X=None):
            self.n += context.task_name == "epoch"

    def refuse(*args):
        raise AssertionError("a fitted estimator was made")

    monkeypatch.setattr(_training, "_attributes", refuse)
    counter = Counter()
    MAKERS["VDL"]().set_callbacks(counter).fit(X)
    assert counter.n == 4
    with pytest.raises(AssertionError, match="was made"):
        MAKERS["VDL"]().set_callbacks(Recorder()).fit(X)


def test_frames_keep_their_names_and_labels_are_passed_on():
    frame, labels = pd.DataFrame(X, columns=list("abcdefgh")), np.arange(60)
    recorder, monitor = Recorder(), monitor_of_r2()
    coder = MAKERS["VDL"]().set_callbacks(recorder, monitor)
    make_pipeline(StandardScaler().set_output(transform="pandas"), coder).fit(frame, labels)  # no warning about names
    assert list(recorder.seen["epoch"][0][0].feature_names_in_) == list(frame.columns)
    np.testing.assert_array_equal(recorder.seen["epoch"][0][1], labels)
    assert len(monitor.get_logs().data) >= 4


def test_a_resumed_fit_goes_on_reporting(tmp_path):
    MAKERS["VDL"]().fit(X, checkpoint=tmp_path / "run")
    recorder = Recorder()
    MAKERS["VDL"]().set_callbacks(recorder).fit(X, checkpoint=tmp_path / "run")
    assert recorder.seen["epoch"] == []  # it was finished
    assert recorder.seen["fit"][0][0].resumed_epoch_ == 4


def test_streams_and_partial_fits_have_models_too():
    recorder = Recorder()
    model = MAKERS["VDL"](max_iter=2).set_callbacks(recorder)
    model.fit_stream([X[:30], X[30:]])
    model.partial_fit(X)
    assert [fitted.n_iter_ for fitted, _ in recorder.seen["epoch"]] == [1, 2, 3]
