"""A checkpoint of a finished run, and a larger `max_iter`: bitwise the longer run, or a refusal that says why."""

import numpy as np
import pytest

from skvardict import SparseVAE, StandardDictionaryLearning, ThresholdedVSC, VarianceDictionaryLearning
from skvardict.networks import MLP
from skvardict.training import (
    SGD,
    Adam,
    CheckpointMismatchError,
    CosineRate,
    Decay,
    EarlyStopping,
    OnlineUpdate,
    Ramp,
    StepDecay,
)
from skvardict.training.schedules import depends_on_length

pytestmark = pytest.mark.filterwarnings("ignore:.*mean square of X:UserWarning")
X = np.random.default_rng(0).standard_normal((120, 8)).astype(np.float32)


def vdl(**parameters):
    return VarianceDictionaryLearning(**{"n_components": 5, "random_state": 0, "max_iter": 3, **parameters})


FREE = {
    "online": lambda **kw: StandardDictionaryLearning(5, encoder=None, random_state=0, **kw),
    "constant rates": lambda **kw: vdl(optimizer=Adam(1e-3), **kw),
    "rates by epoch": lambda **kw: vdl(optimizer=SGD(1e-2, schedule=StepDecay(0.5, 2)), **kw),
    "validation": lambda **kw: vdl(
        optimizer=Adam(1e-3), early_stopping=EarlyStopping(validation_fraction=0.2, n_iter_no_change=50), **kw
    ),
    "variational": lambda **kw: SparseVAE(5, encoder=MLP((8,)), random_state=0, **kw),
}
BOUND = {
    "automatic": vdl,
    "cosine": lambda **kw: vdl(optimizer=Adam(1e-3, schedule=CosineRate(0.1)), **kw),
    "cosine of the encoder": lambda **kw: vdl(optimizer=OnlineUpdate(encoder_optimizer=Adam(schedule=CosineRate(0.1)))),
    "warm-up of noise": lambda **kw: ThresholdedVSC(
        5, expectation="draws", encoder=MLP((8,)), random_state=0, warmup=Ramp(0.1, 0.0, 0.5, unit="fraction"), **kw
    ),
}


@pytest.mark.parametrize("make", FREE.values(), ids=FREE)
def test_a_finished_run_goes_on_and_ends_as_the_longer_one(make, tmp_path):
    make(max_iter=3).fit(X, checkpoint=tmp_path / "run")
    longer = make(max_iter=7).fit(X, checkpoint=tmp_path / "run")
    expected = make(max_iter=7).fit(X)
    assert longer.resumed_epoch_ == 3
    assert longer.n_iter_ == 7
    assert longer.best_epoch_ == expected.best_epoch_
    for name, array in expected.params_.items():
        np.testing.assert_array_equal(longer.params_[name], array)
    np.testing.assert_array_equal(longer.history_["energy"], expected.history_["energy"])
    again = make(max_iter=7).fit(X, checkpoint=tmp_path / "run")  # finished now
    assert again.resumed_epoch_ == 7


def test_fewer_epochs_than_a_checkpoint_holds_are_refused(tmp_path):
    FREE["online"](max_iter=5).fit(X, checkpoint=tmp_path / "run")
    with pytest.raises(CheckpointMismatchError, match="holds a run of 5 epochs, but max_iter=4"):
        FREE["online"](max_iter=4).fit(X, checkpoint=tmp_path / "run")


def test_what_has_stopped_early_stays_so(tmp_path):
    def make(max_iter):
        stopping = EarlyStopping(validation_fraction=0.2, n_iter_no_change=1, tol=0.9)
        return vdl(optimizer=Adam(1e-3), early_stopping=stopping, max_iter=max_iter)

    first = make(20).fit(X, checkpoint=tmp_path / "run")
    assert first.n_iter_ < 20
    assert make(40).fit(X, checkpoint=tmp_path / "run").n_iter_ == first.n_iter_


@pytest.mark.parametrize("make", [BOUND["automatic"], BOUND["cosine"], BOUND["warm-up of noise"]])
def test_schedules_over_all_epochs_make_a_longer_run_another_one(make, tmp_path):
    make(max_iter=2).fit(X, checkpoint=tmp_path / "run")
    with pytest.raises(CheckpointMismatchError, match=r"max_iter: 2 in .*, 4 now.*schedules over max_iter.*warm_start"):
        make(max_iter=4).fit(X, checkpoint=tmp_path / "run")


@pytest.mark.parametrize("make", BOUND.values(), ids=BOUND)
def test_which_runs_follow_their_length(make):
    coder = make()
    coder.n_features_in_ = 8
    assert coder._follows_length(coder._plan(100))


@pytest.mark.parametrize(
    ("schedule", "depends"),
    [
        (StepDecay(0.5, 3), False),
        (Decay(), False),
        (StepDecay(0.5, 3, total=300), True),
        (Decay(total=300), True),
        (CosineRate(0.1), True),
        (Ramp(0.1, 0.0, 0.5, unit="fraction"), True),
    ],
)
def test_schedules_tell_whether_they_know_the_end(schedule, depends):
    assert depends_on_length(schedule) is depends
