"""A resumed fit ends as if it had never been stopped, and a checkpoint of another fit or a damaged one is noticed."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

import skvardict
from skvardict import StandardDictionaryLearning, VarianceDictionaryLearning
from skvardict.networks import MLP
from skvardict.storage.files import DamagedFileError, read_file, to_bytes
from skvardict.training import (
    SGD,
    Adam,
    CheckpointMismatchError,
    EarlyStopping,
    OnlineUpdate,
    StepDecay,
    TargetSparsity,
)
from skvardict.training import checkpoint as checkpoint_module

pytestmark = pytest.mark.filterwarnings("ignore:.*mean square of X:UserWarning")

NONLINEAR = {"decoder": MLP((12,))}


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).standard_normal((300, 10)).astype(np.float32)


def small(**parameters):
    return VarianceDictionaryLearning(**{"n_components": 6, "max_iter": 6, "random_state": 0, **parameters})


class Killed(BaseException):
    """Ends a process here as SIGKILL would: nothing of the package catches it."""


def killer(epoch):
    """Return what kills a fit before its first step of an epoch."""

    def kill(session):
        if session.n_epochs == epoch - 1:
            raise Killed

    return kill


@pytest.fixture
def run_killed(meddle):
    """Returns a function that fits a model up to the middle of an epoch."""

    def run(model, X, epoch, **fit):
        with meddle(killer(epoch)), pytest.raises(Killed):
            model.fit(X, **fit)

    return run


def assert_same_fit(one, other):
    """Everything but the clock is bitwise equal."""
    for state in ("params_", "_train_state"):
        first, second = getattr(one, state), getattr(other, state)
        assert first.keys() == second.keys()
        for name in first:
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    histories = [
        {name: values for name, values in model.history_.items() if name != "seconds"} for model in (one, other)
    ]
    assert histories[0] == histories[1]
    for name in ("n_iter_", "n_steps_", "best_epoch_", "n_dead_"):
        assert getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize("killed_in", [1, 2, 6])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        NONLINEAR,
        {"encoder": None},
        {"optimizer": OnlineUpdate(encoder_optimizer=Adam(1e-3, relative=True, schedule=StepDecay(0.5, 2)))},
        {"alpha": TargetSparsity(0.5), "early_stopping": True},
        {"encoder": None, "optimizer": SGD(0.1, momentum=0, nesterov=False, max_grad_norm=None)},
        {
            "optimizer": Adam(3e-4, encoder_learning_rate=1e-4, schedule=StepDecay(0.5, 2), encoder_schedule=None),
            "early_stopping": False,
            "batch_size": 70,
        },
        {"max_iter": 40, "early_stopping": EarlyStopping(n_iter_no_change=1, tol=0.2)},
    ],
    ids=[
        "linear",
        "mlp",
        "online",
        "online with encoder",
        "sparsity",
        "sgd without encoder",
        "schedule",
        "early stopping",
    ],
)
def test_a_killed_fit_goes_on_and_ends_bitwise_equal(X, tmp_path, parameters, killed_in, run_killed):
    expected = small(**parameters).fit(X)
    killed_in = min(killed_in, expected.n_iter_)
    run_killed(small(**parameters), X, killed_in, checkpoint=tmp_path / "run")
    model = small(**parameters).fit(X, checkpoint=tmp_path / "run")
    assert model.resumed_epoch_ == killed_in - 1
    assert_same_fit(model, expected)


def test_several_kills_are_survived(X, tmp_path, run_killed):
    for epoch in (2, 3, 5):
        run_killed(small(), X, epoch, checkpoint=tmp_path / "run")
    assert_same_fit(small().fit(X, checkpoint=tmp_path / "run"), small().fit(X))


def test_resuming_is_said(X, tmp_path, capsys, run_killed):
    run_killed(small(), X, 4, checkpoint=tmp_path / "run")
    assert capsys.readouterr().out == ""
    small().fit(X, checkpoint=tmp_path / "run")
    assert "resumed after epoch 3" in capsys.readouterr().out


def test_a_finished_fit_is_loaded_and_not_repeated(X, tmp_path, meddle):
    expected = small().fit(X, checkpoint=tmp_path / "run")
    assert expected.resumed_epoch_ == 0
    with meddle(lambda session: pytest.fail("an epoch was run"), before="epoch"):
        model = small(verbose=1).fit(X, checkpoint=tmp_path / "run")
    assert model.resumed_epoch_ == 6
    assert_same_fit(model, expected)


def test_a_seed_that_was_drawn_is_kept(X, tmp_path, run_killed):
    run_killed(small(random_state=None), X, 4, checkpoint=tmp_path / "run")
    first = small(random_state=None).fit(X, checkpoint=tmp_path / "run")
    assert_same_fit(small(random_state=None).fit(X, checkpoint=tmp_path / "run"), first)
    seed = read_file(tmp_path / "run").content["state"]["dict"]["seed"]
    assert first.resumed_epoch_ == 3
    held_out = small(random_state=None)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("skvardict.estimators._training.draw_seed", lambda random_state: seed)
        assert_same_fit(held_out.fit(X), first)


def test_a_warm_start_has_a_checkpoint_of_its_own(X, tmp_path, run_killed):
    def begun():
        return small(warm_start=True, max_iter=3).fit(X)

    expected = begun().fit(X)
    run_killed(begun(), X, 5, checkpoint=tmp_path / "run")
    model = begun().fit(X, checkpoint=tmp_path / "run")
    assert model.resumed_epoch_ == 4
    assert_same_fit(model, expected)
    with pytest.raises(CheckpointMismatchError, match="start: after 3 epochs"):
        small(warm_start=True, max_iter=3).fit(X, checkpoint=tmp_path / "run")


def test_validation_rows_of_the_caller_are_part_of_the_run(X, tmp_path, run_killed):
    X_val = X[:50] + 1
    expected = small().fit(X, X_val=X_val)
    run_killed(small(), X, 4, X_val=X_val, checkpoint=tmp_path / "run")
    assert_same_fit(small().fit(X, X_val=X_val, checkpoint=tmp_path / "run"), expected)
    with pytest.raises(CheckpointMismatchError, match="X_val: "):
        small().fit(X, checkpoint=tmp_path / "run")


@pytest.mark.parametrize(("every", "written"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (9, [5])])
def test_checkpoint_every_counts_epochs_and_the_end_is_always_written(X, tmp_path, monkeypatch, every, written):
    epochs = []
    original = checkpoint_module.write_file

    def record(path, arrays, content, **options):
        epochs.append(content["state"]["dict"]["n_epochs"])
        return original(path, arrays, content, **options)

    monkeypatch.setattr(checkpoint_module, "write_file", record)
    small(max_iter=5).fit(X, checkpoint=tmp_path / "run", checkpoint_every=every)
    assert epochs == written


@pytest.mark.parametrize("every", [0, -1, 1.5, "2"])
def test_checkpoint_every_is_checked(X, tmp_path, every):
    with pytest.raises(ValueError, match=r"checkpoint_every must be .* but got"):
        small().fit(X, checkpoint=tmp_path / "run", checkpoint_every=every)


def other_data(X):
    X = X.copy()
    X[7, 3] += 1e-6
    return X


@pytest.mark.parametrize(
    ("model", "change", "said"),
    [
        (small(alpha=0.01), lambda X: X, r"alpha: 'auto' in the checkpoint, 0.01 now"),
        (small(), other_data, r"X: float32 \(300, 10\), SHA-256 \w+ in the checkpoint"),
        (small(), lambda X: X.astype(np.float64), r"X: float32 .* float64"),
        (
            StandardDictionaryLearning(6, max_iter=6, random_state=0),
            lambda X: X,
            "estimator: Variance.* Standard.* now",
        ),
        (small(random_state=1), lambda X: X, "random_state: 0 in the checkpoint, 1 now"),
    ],
    ids=["parameter", "one entry", "dtype", "class", "seed"],
)
def test_a_checkpoint_of_another_fit_is_refused_with_what_differs(X, tmp_path, model, change, said, run_killed):
    run_killed(small(), X, 3, checkpoint=tmp_path / "run")
    before = (tmp_path / "run").read_bytes()
    with pytest.raises(CheckpointMismatchError, match=said):
        model.fit(change(X), checkpoint=tmp_path / "run")
    assert (tmp_path / "run").read_bytes() == before


@pytest.mark.parametrize("name", ["skvardict", "torch"])
def test_a_checkpoint_of_another_version_is_refused(X, tmp_path, monkeypatch, name, run_killed):
    from skvardict.estimators import _training

    original = _training.fit_identity
    monkeypatch.setattr(_training, "fit_identity", lambda *args: original(*args) | {name: "0.0.1"})
    run_killed(small(), X, 3, checkpoint=tmp_path / "run")
    monkeypatch.undo()
    with pytest.raises(CheckpointMismatchError, match=f"{name}: 0.0.1 in the checkpoint"):
        small().fit(X, checkpoint=tmp_path / "run")


def test_a_checkpoint_of_another_format_is_refused(X, tmp_path, monkeypatch, run_killed):
    monkeypatch.setattr(checkpoint_module, "FORMAT", 1)
    run_killed(small(), X, 3, checkpoint=tmp_path / "run")
    monkeypatch.undo()
    said = rf"skvardict {skvardict.__version__} in the checkpoint format 1, but this version reads 2.*from parts"
    with pytest.raises(CheckpointMismatchError, match=said):
        small().fit(X, checkpoint=tmp_path / "run")


def test_what_has_no_effect_on_the_result_may_change(X, tmp_path, run_killed):
    run_killed(small(), X, 3, checkpoint=tmp_path / "run")
    model = small(verbose=1, device="cpu").fit(X, checkpoint=tmp_path / "run", checkpoint_every=3)
    assert_same_fit(model, small().fit(X))


def test_other_thread_counts_are_warned_about(X, tmp_path, monkeypatch, run_killed):
    run_killed(small(), X, 3, checkpoint=tmp_path / "run")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    with pytest.warns(UserWarning, match=r"torch threads, but there are 77 now.*not be bitwise"):
        small().fit(X, checkpoint=tmp_path / "run")


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "truncated":
        del data[len(data) // 2 :]
    elif how == "one bit":
        data[-len(data) // 4] ^= 1
    else:
        data[:] = b""
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("how", ["truncated", "one bit", "empty"])
def test_a_damaged_checkpoint_is_noticed_and_the_previous_one_used(X, tmp_path, how, run_killed):
    run_killed(small(), X, 4, checkpoint=tmp_path / "run")
    damage(tmp_path / "run", how)
    with pytest.warns(UserWarning, match="previous checkpoint is used, of epoch 2"):
        model = small().fit(X, checkpoint=tmp_path / "run")
    assert model.resumed_epoch_ == 2
    assert_same_fit(model, small().fit(X))


def test_without_a_previous_checkpoint_damage_is_an_error(X, tmp_path, run_killed):
    run_killed(small(), X, 2, checkpoint=tmp_path / "run")
    damage(tmp_path / "run", "truncated")
    with pytest.raises(DamagedFileError, match="Delete the file to start anew"):
        small().fit(X, checkpoint=tmp_path / "run")


def test_another_file_is_never_overwritten(X, tmp_path):
    np.save(tmp_path / "precious.npy", X)
    with pytest.raises(DamagedFileError):
        small().fit(X, checkpoint=tmp_path / "precious.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "precious.npy"), X)


def test_a_missing_folder_is_said_before_training(X, tmp_path):
    with pytest.raises(FileNotFoundError, match="folder does not exist"):
        small().fit(X, checkpoint=tmp_path / "nowhere" / "run")


@pytest.mark.parametrize(
    "fatal", [None, ("fsync", 5), ("unlink", 3), ("link", 3), ("replace", 2), ("fsync", 6)], ids=str
)
def test_a_crash_while_writing_leaves_a_good_checkpoint(X, tmp_path, monkeypatch, meddle, fatal):
    """Die inside the third write, at each of its system calls."""
    # A write takes an fsync of the file, an unlink and a link for the previous one (but for the first write, which is
    # a link and an unlink), a rename, and an fsync of the folder.
    names = ("fsync", "unlink", "link", "replace")
    real, counts = {name: getattr(os, name) for name in names}, dict.fromkeys(names, 0)

    def make(name):
        def call(*args, **kwargs):
            counts[name] += 1
            if fatal == (name, counts[name]):
                raise Killed
            return real[name](*args, **kwargs)

        return call

    for name in real:
        monkeypatch.setattr(os, name, make(name))
    with meddle(killer(3)) if fatal is None else nullcontext(), pytest.raises(Killed):
        small().fit(X, checkpoint=tmp_path / "run")
    monkeypatch.undo()
    with warnings.catch_warnings(action="error"):
        model = small().fit(X, checkpoint=tmp_path / "run")
    assert model.resumed_epoch_ == (3 if fatal == ("fsync", 6) else 2)
    assert_same_fit(model, small().fit(X))


def test_a_full_disk_does_not_stop_training(X, tmp_path, monkeypatch):
    real, calls = os.fsync, []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) > 4:  # two writes succeed
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.warns(UserWarning, match=r"No space left.*epoch 2 is intact. Training goes on") as caught:
        model = small().fit(X, checkpoint=tmp_path / "run")
    monkeypatch.undo()
    assert sum("could not be written" in str(warning.message) for warning in caught) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run.previous"]
    expected = small().fit(X)
    assert_same_fit(model, expected)
    again = small().fit(X, checkpoint=tmp_path / "run")
    assert again.resumed_epoch_ == 2
    assert_same_fit(again, expected)


def test_a_file_size_limit_of_the_system_does_not_stop_training(tmp_path):
    code = """
    import resource, sys, warnings
    import numpy as np
    from skvardict import VarianceDictionaryLearning
    X = np.random.default_rng(0).standard_normal((100, 30)).astype("float32")
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = VarianceDictionaryLearning(20, max_iter=2, random_state=0).fit(X, checkpoint=sys.argv[1])
    print(model.n_iter_, [str(w.message) for w in caught if "could not be written" in str(w.message)])
    """
    result = run_python(code, tmp_path / "run")
    assert result.stdout.startswith("2 ['The checkpoint"), result.stderr
    assert "there is none yet" in result.stdout
    assert list(tmp_path.iterdir()) == []


def run_python(code, *arguments):
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_real_sigkill_is_survived(X, tmp_path):
    """One of the 25 of benchmarks/kill_and_resume.py."""
    code = """
    import os, signal, sys
    import numpy as np
    from skvardict import VarianceDictionaryLearning
    from tests.conftest import meddling
    def kill(session):
        if session.n_epochs == 3:
            os.kill(os.getpid(), signal.SIGKILL)
    X = np.random.default_rng(0).standard_normal((300, 10)).astype(np.float32)
    with meddling(kill):
        VarianceDictionaryLearning(6, max_iter=6, random_state=0).fit(X, checkpoint=sys.argv[1])
    """
    assert run_python(code, tmp_path / "run").returncode == -signal.SIGKILL
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this process may have another number of threads
        model = small().fit(X, checkpoint=tmp_path / "run")
    assert model.resumed_epoch_ == 3


def test_a_training_state_of_another_model_is_refused(X):
    model = small(warm_start=True, max_iter=1).fit(X)
    model.set_params(n_components=7)
    with pytest.raises(ValueError, match=r"training state holds params\.\S+ of float32 and shape"):
        model.fit(X)


def number_instead_of_weights(state):
    state["session"]["dict"]["params.decoder.components"] = 3


def nothing_as_best_state(state):
    state["best"]["dict"]["decoder.components"] = None


def two_numbers_of_patience(state):
    state["patience"] = [0.5, 0.5]


def a_history_without_columns(state):
    state["history"] = {"dict": {"epoch": 3}}


def no_seed(state):
    del state["seed"]


def a_best_state_of_another_shape(state):
    state["best"]["dict"]["decoder.components"] = {"array": "of another shape"}


def no_optimizer_counters(state):
    del state["session"]["dict"]["counters"]


def no_optimizer_step(state):
    del state["session"]["dict"]["optimizer.0.step"]


def a_generator_of_floats(state):
    state["session"]["dict"]["generator"] = {"array": "of floats"}


@pytest.mark.parametrize(
    "change",
    [
        number_instead_of_weights,  # these four crashed the fuzzer
        nothing_as_best_state,
        no_optimizer_step,
        a_generator_of_floats,
        two_numbers_of_patience,
        a_history_without_columns,
        no_seed,
        a_best_state_of_another_shape,
        no_optimizer_counters,
    ],
)
def test_a_checkpoint_with_other_contents_and_a_right_checksum_is_refused(X, tmp_path, change, run_killed):
    run_killed(small(), X, 2, checkpoint=tmp_path / "run")
    arrays, content = read_file(tmp_path / "run")
    change(content["state"]["dict"])
    arrays["of another shape"] = np.ones((1, 2), np.float32)
    arrays["of floats"] = arrays["state.session.generator"].astype(np.float32)
    (tmp_path / "run").write_bytes(to_bytes(arrays, content))
    with pytest.raises(
        ValueError, match=r"does not hold what a checkpoint holds|does not fit to the model|training state"
    ):
        small().fit(X, checkpoint=tmp_path / "run")
