"""Hostile states with a right checksum: `fit` and `load` refuse them in the same words, and change nothing."""

import copy
import time

import numpy as np
import pytest

import skvardict
from skvardict import SparseVAE, StandardDictionaryLearning, VarianceDictionaryLearning
from skvardict.networks import MLP
from skvardict.storage.files import DamagedFileError, read_file, to_bytes
from skvardict.training import CheckpointMismatchError, TrainingDivergedError
from skvardict.training.saved import find_problem_of_generator

pytestmark = pytest.mark.filterwarnings("ignore:.*mean square of X:UserWarning", "ignore:.*under-trained")
X = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
MODELS = {
    "gradients": lambda **kw: VarianceDictionaryLearning(4, max_iter=3, random_state=0, early_stopping=True, **kw),
    "sums": lambda **kw: StandardDictionaryLearning(4, encoder=None, max_iter=3, random_state=0, **kw),
    "draws": lambda **kw: SparseVAE(4, encoder=MLP((6,)), max_iter=3, random_state=0, **kw),
}


@pytest.fixture(scope="module", params=MODELS)
def fitted(request, tmp_path_factory):
    """A constructor, the parts of its checkpoint, and a path."""
    folder = tmp_path_factory.mktemp("runs")
    MODELS[request.param]().fit(X, checkpoint=folder / "run")
    return MODELS[request.param], read_file(folder / "run"), folder / "hostile"


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


def number(name, value):
    return lambda state, arrays: state.update({name: value})


def entries(name, value):
    """Return what sets an array: a value for all entries, or what makes another array of it."""

    def change(state, arrays):
        key = f"state.{name}"
        arrays[key] = value(arrays[key]) if callable(value) else np.full_like(arrays[key], value)

    return change


def column(name, value):
    return lambda state, arrays: state["history"]["dict"].update({name: value})


def bytes_of_generator(first, values):
    def make(array):
        changed = array.copy()
        changed[first : first + len(values)] = values
        return changed

    return entries("session.generator", make)


HOSTILE = {
    # these leaked errors of their own, or passed
    "values nested without end": number("identity", nested(500)),
    "no counters": lambda state, arrays: state["session"]["dict"].pop("counters"),
    "a generator of zeros": entries("session.generator", 0),
    "a billion epochs to go": number("n_new_epochs", -(10**9)),
    "as many steps as fit": entries("session.counters", [3, 2**62]),
    "as many epochs as fit": entries("session.counters", [2**62, 2**62]),
    "a best state of NaN": entries("best.decoder.components", np.nan),
    "a history without dead components": lambda state, arrays: state["history"]["dict"].pop("n_dead"),
    "an empty history": lambda state, arrays: state["history"]["dict"].clear(),
    "columns of another length": lambda state, arrays: state["history"]["dict"].update(
        {name: values[:1] for name, values in state["history"]["dict"].items()}
    ),
    "infinitely many dead components": column("n_dead", [1, 1, {"float": "inf"}]),
    "a count of 10^400": column("n_dead", [1, 1, 10**400]),
    "epochs out of order": column("epoch", [3, 2, 1]),
    "energies that are not finite": column("energy", [{"float": "nan"}] * 3),
    "text in the history": column("energy", ["a", "b", "c"]),
    # their relatives
    "a generator of ones": entries("session.generator", 255),
    "a generator behind its numbers": bytes_of_generator(8, [112, 2, 0, 0, 1, 0, 0, 0, 112, 2, 0, 0, 0, 0, 0, 0]),
    "a generator far behind its numbers": bytes_of_generator(16, [255] * 6),
    "a generator whose numbers are zero": bytes_of_generator(24, [0] * 624 * 8),
    "a generator of another size": entries("session.generator", lambda array: array[:-1]),
    "more epochs than there are": number("n_new_epochs", 4),
    "a best epoch to come": number("best_epoch", 10),
    "a negative best epoch": number("best_epoch", -1),
    "a seed out of range": number("seed", 2**70),
    "no epochs in all": number("max_epochs", 0),
    "a truth as a number": number("n_epochs", True),
    "a number as a truth": number("is_finished", 1),
    "a run that has ended and has not": number("is_finished", False),
    "threads without number": number("n_threads", 0),
    "a patience of NaN": number("patience", [{"float": "nan"}, 1.0, 0]),
    "a patience that has run out before it began": number("patience", [1.0, 2.0, 99]),
    "a reference below the best": number("patience", [2.0, 1.0, 0]),
    "parameters of infinity": entries("session.params.decoder.components", np.inf),
    "parameters of another shape": entries("session.params.decoder.components", lambda array: array[:, :-1]),
    "parameters of whole numbers": entries("best.decoder.components", lambda array: array.astype(np.int64)),
    "a best state without parameters": lambda state, arrays: state["best"]["dict"].clear(),
    "a session without parameters": lambda state, arrays: state["session"]["dict"].pop("params.decoder.components"),
    "text as another weight": lambda state, arrays: state["best"]["dict"].update({"decoder.other": "x"}),
    "text as parameters": lambda state, arrays: state["session"]["dict"].update({"params.decoder.components": "x"}),
    "a writer without a name": number("writer", {"dict": {"host": 3}}),
    "an identity of numbers": number("identity", {"dict": {"skvardict": 1}}),
    "no identity": number("identity", [1, 2]),
    "no state": lambda state, arrays: state.clear(),
}


def write_hostile(parts, path, change):
    arrays, content = dict(parts.arrays), copy.deepcopy(parts.content)
    state = content["state"]["dict"]
    for name, values in state["history"]["dict"].items():  # short ones, so that every change is plain
        if isinstance(values, dict):
            state["history"]["dict"][name] = arrays.pop(values["numbers"]).tolist()
    change(state, arrays)
    path.write_bytes(to_bytes(arrays, content))


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_checkpoint_is_refused_at_once_and_changes_nothing(fitted, kind):
    make, parts, path = fitted
    write_hostile(parts, path, HOSTILE[kind])
    before = path.read_bytes()
    for model in (make(), make().fit(X[:, :5])):
        state = dict(vars(model))
        begin = time.process_time()
        with pytest.raises((DamagedFileError, CheckpointMismatchError), match="hostile"):
            model.fit(X, checkpoint=path)
        assert time.process_time() - begin < 5
        assert all(vars(model)[name] is value for name, value in state.items())
        assert vars(model).keys() == state.keys()
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["gram", "cross", "idle", "rows"])
@pytest.mark.parametrize("value", [np.nan, np.inf, None])
def test_sums_are_looked_at_too(tmp_path, name, value):
    MODELS["sums"]().fit(X, checkpoint=tmp_path / "run")
    parts = read_file(tmp_path / "run")

    def change(state, arrays):
        key = f"session.optimizer.online.{name}"
        if value is None:
            state["session"]["dict"] = {
                name: array for name, array in state["session"]["dict"].items() if "online" not in name
            }
        else:
            entries(key, value)(state, arrays)

    write_hostile(parts, tmp_path / "hostile", change)
    with pytest.raises(DamagedFileError):
        MODELS["sums"]().fit(X, checkpoint=tmp_path / "hostile")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("optimizer.bounds", -1.0),
        ("optimizer.bounds", np.nan),
        ("optimizer.0.exp_avg_sq", -1.0),
        ("optimizer.0.exp_avg", np.nan),
        ("optimizer.0.step", np.inf),
        ("optimizer.0.step", -3.0),
        ("optimizer.bounds", None),
    ],
)
def test_moments_are_looked_at_too(tmp_path, name, value):
    make = lambda: VarianceDictionaryLearning(4, max_iter=2, random_state=0, optimizer=skvardict.training.Adam(1e-3))  # noqa: E731
    make().fit(X, checkpoint=tmp_path / "run")

    def change(state, arrays):
        if value is None:
            del state["session"]["dict"][name]
        else:
            entries(f"session.{name}", value)(state, arrays)

    write_hostile(read_file(tmp_path / "run"), tmp_path / "hostile", change)
    with pytest.raises(DamagedFileError):
        make().fit(X, checkpoint=tmp_path / "hostile")


OF_LOAD = {
    "counters": lambda content, arrays: arrays.update({"fitted._train_state.counters": np.array([3, 2**62])}),
    "a generator": lambda content, arrays: arrays["fitted._train_state.generator"].fill(0),
    "moments": lambda content, arrays: arrays["fitted._train_state.optimizer.bounds"].fill(np.nan),
    "epochs": lambda content, arrays: content["fitted"].update(n_iter_=2**62),
    "steps": lambda content, arrays: content["fitted"].update(n_steps_=-1),
    "the best epoch": lambda content, arrays: content["fitted"].update(best_epoch_=10**9),
    "dead components": lambda content, arrays: content["fitted"].update(n_dead_=-5),
    "the number alpha": lambda content, arrays: content["fitted"].update(alpha_={"float": "nan"}),
    "a history": lambda content, arrays: content["fitted"].update(history_={"dict": {}}),
    "a history that is none": lambda content, arrays: content["fitted"].update(history_=[1]),
}


@pytest.mark.parametrize("kind", OF_LOAD)
def test_load_looks_at_the_same(tmp_path, kind):
    VarianceDictionaryLearning(4, max_iter=3, random_state=0).fit(X).save(tmp_path / "model")
    arrays, content = read_file(tmp_path / "model")
    OF_LOAD[kind](content, arrays)
    (tmp_path / "model").write_bytes(to_bytes(arrays, content))
    with pytest.raises(DamagedFileError):
        skvardict.load(tmp_path / "model")


def test_weights_that_no_solver_can_take_are_a_divergence(tmp_path):
    """They are finite numbers; what becomes of them is not."""
    fit_two_of_three = MODELS["sums"]().set_params(max_iter=2)
    fit_two_of_three.fit(X, checkpoint=tmp_path / "run")
    change = entries("session.params.decoder.components", 1e30)
    write_hostile(read_file(tmp_path / "run"), tmp_path / "run", change)
    with pytest.raises(TrainingDivergedError, match="system of equations could not be solved in epoch 3"):
        MODELS["sums"]().fit(X, checkpoint=tmp_path / "run")


def test_a_history_without_the_encoder_is_no_error(tmp_path):
    """Nothing says which models count that; the count is then 0."""
    make = MODELS["gradients"]
    make().fit(X, checkpoint=tmp_path / "run")
    write_hostile(
        read_file(tmp_path / "run"),
        tmp_path / "run",
        lambda state, arrays: state["history"]["dict"].pop("n_dead_encoder"),
    )
    assert make().fit(X, checkpoint=tmp_path / "run").n_dead_encoder_ == 0


def test_generators_in_use_are_accepted():
    import torch

    generator = torch.Generator().manual_seed(2**31 - 2)
    for size in (0, 1, 1, 622, 1, 623, 3, 1000):
        torch.rand(size, generator=generator)
        assert find_problem_of_generator(generator.get_state().numpy()) is None
        torch.randn(size + 1, generator=generator)
        assert find_problem_of_generator(generator.get_state().numpy()) is None
