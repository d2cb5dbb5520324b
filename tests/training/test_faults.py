"""Nothing fails silently: numbers, collapse, limits, memory, devices, interrupts. (Full disks: test_checkpoint.py.)"""

import re
import signal
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from skvardict import StandardDictionaryLearning, VarianceDictionaryLearning
from skvardict.estimators._messages import Watch
from skvardict.preprocessing import GlobalStandardizer
from skvardict.solvers import FISTA
from skvardict.training import Adam, TrainingDivergedError
from skvardict.training.health import find_trouble, find_undertraining


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).standard_normal((300, 10)).astype(np.float32)


@pytest.fixture(scope="module")
def digits():
    return GlobalStandardizer().fit_transform(load_digits().data.astype(np.float32))


def small(**parameters):
    return VarianceDictionaryLearning(**{"n_components": 6, "max_iter": 4, "random_state": 0, **parameters})


def spoil(X, bad):
    X = X.copy()
    X[[17, 203], [3, 0]] = bad
    return X


def as_memory_map(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_non_finite_rows_are_named_before_training(X, kind, bad):
    spoilt = spoil(X, bad) if kind == "array" else torch.from_numpy(spoil(X, bad))
    with pytest.raises(ValueError, match=r"VarianceDictionaryLearning: X contains NaN or infinity .* row 17, 203"):
        small().fit(spoilt)
    with pytest.raises(ValueError, match="row 17, 203"):
        small().fit(X).transform(spoilt)


def test_non_finite_rows_of_a_memory_map_are_named_at_their_batch(X, tmp_path, meddle):
    X_long = np.tile(X, (20, 1))
    X_long[5017, 3] = np.nan  # behind the rows whose scale is looked at before training
    mapped = as_memory_map(X_long, tmp_path)
    batches = []
    model = small(batch_size=30, early_stopping=False)
    said = r"Learning: X contains NaN or infinity in 1 of the 30 rows read last: row 5017\. "
    with meddle(batches.append), pytest.raises(ValueError, match=said):
        model.fit(mapped)
    assert 0 < len(batches) < 200
    assert not hasattr(model, "params_")
    fitted = small().fit(X)
    with pytest.raises(ValueError, match=r"row 5017\. "):
        fitted.transform(mapped)


def test_non_finite_validation_rows_are_named(X, tmp_path):
    with pytest.raises(ValueError, match=r"X_val contains NaN .* row 17\. "):
        small().fit(X, X_val=as_memory_map(spoil(X, np.nan), tmp_path))


def test_non_finite_rows_leave_what_was_fitted(X, tmp_path):
    model = small(warm_start=True).fit(X)
    codes = model.transform(X)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(as_memory_map(spoil(X, np.nan), tmp_path))
    np.testing.assert_array_equal(model.transform(X), codes)


def test_divergence_names_the_batch_the_losses_and_the_parameter(X):
    with pytest.raises(TrainingDivergedError, match=r"epoch 1, batch 1 \(decoder (nan|inf).*Lower the learning rate"):
        small(solver=FISTA(step_size=1e6)).fit(X)


def test_all_codes_zero_is_warned_about_once(X):
    with pytest.warns(UserWarning, match=r"all 6 components .* collapsed.*[Ll]ower alpha") as caught:
        small(alpha=1e3, beta=0.0).fit(X)
    assert sum("collapsed" in str(warning.message) for warning in caught) == 1


def test_dead_components_are_warned_about_once_with_the_number(digits):
    model = StandardDictionaryLearning(
        32,
        alpha=0.1,
        max_iter=12,
        batch_size=100,
        init="random",
        optimizer=Adam(1e-3, encoder_learning_rate=3e-4),
        early_stopping=True,
        random_state=0,
    )
    with pytest.warns(
        UserWarning, match=r"\d+ of 32 components were never active\. Lower alpha \(now 0\.1\)"
    ) as caught:
        model.fit(digits)
    assert sum("never active" in str(warning.message) for warning in caught) == 1
    (epoch,) = re.findall(r"in epoch (\d+), ", str(caught[0].message))
    half_dead = np.array(model.history_["n_dead"]) > 16
    lasting = next(n for n in range(5, 13) if half_dead[n - 5 : n].all())
    assert int(epoch) == lasting < 12  # said as soon as it has lasted, not after the last epoch


def test_codes_that_shrink_while_the_decoder_grows_are_warned_about(digits):
    model = StandardDictionaryLearning(
        16,
        alpha=0.02,
        atom_norm=None,
        optimizer=Adam(5e-2, encoder_learning_rate=3e-4),
        max_iter=30,
        batch_size=50,
        random_state=0,
    )
    with pytest.warns(
        UserWarning, match=r"L1 norm of codes has fallen from .* grew from .* Set atom_norm \(now None\)"
    ):
        model.fit(digits[:500])
    with warnings.catch_warnings(action="error"):
        warnings.filterwarnings("ignore", message=".*under-trained", category=ConvergenceWarning)
        model.set_params(atom_norm=1.0).fit(digits[:500])


def test_a_solver_at_its_limit_is_warned_about_once_with_the_parameter(X):
    with pytest.warns(ConvergenceWarning, match=r"on \d+ of 270 rows\. Raise max_iter or tol of solver") as caught:
        small(solver=FISTA(max_iter=2, tol=1e-6), max_iter=8, early_stopping=True).fit(X)
    assert sum("did not converge" in str(warning.message) for warning in caught) == 1


def test_partial_fit_does_not_repeat_itself(X):
    model = small(solver=FISTA(max_iter=2, tol=1e-6))
    with pytest.warns(ConvergenceWarning, match="did not converge"):
        model.partial_fit(X)
    with warnings.catch_warnings(action="error"):
        model.partial_fit(X).partial_fit(X)


def history(**columns):
    return {"epoch": list(range(1, 7)), **columns}


OUTGROWN = {
    "solver_n_unconverged": [0, 1, 1, 2, 4, 5],
    "solver_n_iter": [3, 4, 5, 6, 7, 8],
    "decoder_norm": [20, 25, 28, 30, 33, 35],
}


@pytest.mark.parametrize(
    ("columns", "kinds"),
    [
        ({"n_dead": [0, 9, 9, 9, 9, 9]}, ["dead"]),
        ({"n_dead": [9, 9, 9, 9, 9, 5]}, []),
        ({"n_dead": [9, 9, 9, 1, 9, 9]}, []),  # not lasting
        ({"n_dead": [10] * 6}, []),  # all of them: another message
        ({"n_dead": [1] * 6, "n_dead_encoder": [7] * 6}, ["unpredicted"]),
        ({"n_dead": [3] * 6, "n_dead_encoder": [8] * 6}, []),
        ({"l1": [1, 9, 4, 4, 4, 4], "decoder_norm": [1, 1, 3, 3, 3, 3]}, ["shrinking"]),
        ({"l1": [1, 9, 4, 4, 4, 4], "decoder_norm": [1, 2, 3, 3, 3, 3]}, []),  # grown too little since the peak
        ({"l1": [1, 2, 3, 4, 5, 6], "decoder_norm": [1, 3, 9, 27, 81, 99]}, []),
        ({"solver_n_unconverged": [60] * 6, "n_rows": [100] * 6}, ["saturated"]),
        ({"solver_n_unconverged": [40] * 6, "n_rows": [100] * 6}, []),
        ({**OUTGROWN, "n_rows": [100] * 6}, ["outgrown"]),
        ({**OUTGROWN, "n_rows": [3000] * 6}, []),  # too few rows
        ({**OUTGROWN, "n_rows": [100] * 6, "decoder_norm": [20] * 6}, []),
        ({**OUTGROWN, "n_rows": [100] * 6, "solver_n_iter": [9, 8, 7, 6, 6, 6]}, []),
    ],
)
def test_what_counts_as_trouble(columns, kinds):
    assert [finding.kind for finding in find_trouble(history(**columns), 10, n_epochs=4)] == kinds


@pytest.mark.parametrize("step_size", [0.5, "auto"])
def test_a_step_that_the_decoder_has_outgrown_is_said_where_it_is_fixed(step_size):
    model = small(solver=FISTA(step_size=step_size))
    past = history(**OUTGROWN, n_rows=[100] * 6)
    watch = Watch(model, {}, 9)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        watch.after_epoch(SimpleNamespace(history=past, n_epochs=6, objective=None))
    said = [str(warning.message) for warning in caught if "step_size='auto' in solver" in str(warning.message)]
    assert len(said) == (step_size != "auto")
    assert all("from 3 to 8 a row" in text and "from 20 to 35" in text for text in said)


def test_no_trouble_without_a_history():
    assert find_trouble({}, 10) == []
    assert find_trouble(history(n_dead=[9] * 6), 10, n_epochs=7) == []


@pytest.mark.parametrize("algorithm", ["encoder", "solver"])
def test_out_of_memory_is_met_with_smaller_chunks_and_said_once(X, monkeypatch, algorithm):
    model = small(transform_algorithm=algorithm).fit(X)
    expected = model.transform(X)
    sizes = []
    original = type(model)._encode_block

    def encode_block(self, objective, rows):
        sizes.append(len(rows))
        if len(rows) > 40:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return original(self, objective, rows)

    monkeypatch.setattr(type(model), "_encode_block", encode_block)
    with pytest.warns(
        UserWarning, match="no memory on cpu for chunks of 300 rows; going on with smaller ones"
    ) as caught:
        codes = model.transform(X)
    assert sum("no memory" in str(warning.message) for warning in caught) == 1
    # Rows round differently in blocks of other heights.
    np.testing.assert_allclose(codes, expected, rtol=2e-3, atol=2e-3)
    assert sizes[:4] == [300, 150, 75, 37]
    assert max(sizes[4:]) <= 37


def test_out_of_memory_with_single_rows_is_an_error(X, monkeypatch):
    model = small().fit(X)

    def encode_block(self, objective, rows):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(type(model), "_encode_block", encode_block)
    with pytest.warns(UserWarning, match="no memory"), pytest.raises(torch.OutOfMemoryError):
        model.transform(X)


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_cuda_that_is_absent_is_said_with_what_there_is(X, monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=f"device='{device}' was asked for.*available: 'cpu'"):
        small(device=device).fit(X)


def test_a_real_interrupt_leaves_the_best_state_and_the_checkpoint(X, tmp_path, meddle):
    constant = {"optimizer": Adam(3e-4, encoder_learning_rate=1e-4)}  # so that two epochs do not depend on what follows
    expected = small(max_iter=2, **constant).fit(X)

    def ctrl_c(session):
        if session.n_epochs == 2:
            signal.raise_signal(signal.SIGINT)

    model = small(**constant)
    with meddle(ctrl_c), pytest.raises(KeyboardInterrupt) as caught:
        model.fit(X, checkpoint=tmp_path / "run")
    assert "interrupted after 2 complete epochs" in caught.value.__notes__[0]
    np.testing.assert_array_equal(model.transform(X), expected.transform(X))
    whole = small(**constant).fit(X)
    resumed = small(**constant).fit(X, checkpoint=tmp_path / "run")
    assert resumed.resumed_epoch_ == 2
    np.testing.assert_array_equal(resumed.components_, whole.components_)


@pytest.mark.parametrize(
    ("energies", "is_settled"),
    [
        ([4.0, 3.0, 2.0, 1.0], False),
        ([1.0] * 10, True),
        ([1.0 + 0.9**epoch for epoch in range(10)], False),
        ([1.0 + 0.9**epoch for epoch in range(100)], True),
        ([1.0, 1.5, 2.0, 2.5], True),  # what rises is no under-training
        ([4.0, 1.0], True),  # too few to tell
    ],
)
def test_an_energy_that_is_still_falling_is_found(energies, is_settled):
    assert (find_undertraining({"energy": energies}, len(energies)) is None) == is_settled
    assert find_undertraining({"energy": [99.0, *energies]}, len(energies) + 5) is None  # not that many epochs


def test_an_under_trained_end_is_said_with_the_number_and_a_settled_one_is_not():
    X = np.random.default_rng(0).standard_normal((200, 10)).astype(np.float32)
    slow = {"optimizer": Adam(3e-3), "max_iter": 20, "random_state": 0}
    with pytest.warns(ConvergenceWarning, match=r"still falling, by .* % an epoch .* under-trained. Raise max_iter"):
        VarianceDictionaryLearning(6, **slow).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        VarianceDictionaryLearning(6, random_state=0).fit(X)


def test_a_stream_of_single_rows_says_what_is_wrong_once(digits):
    """Trouble comes and goes from row to row."""
    model = VarianceDictionaryLearning(32, random_state=0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for row in digits[:40]:
            model.partial_fit(row[None])
    kinds = [re.sub(r"[0-9]+", "", str(warning.message)) for warning in said]
    assert len(kinds) == len(set(kinds)) > 0
