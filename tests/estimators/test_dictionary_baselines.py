"""Standard and weight-decay dictionary learning: what sets them apart from the variance-regularised model."""

import numpy as np
import pytest
from sklearn.base import clone

from skvardict import StandardDictionaryLearning, VarianceDictionaryLearning, WeightDecayDictionaryLearning
from skvardict.datasets import make_sparse_coded_signals
from skvardict.networks import MLP
from skvardict.solvers import FISTA
from skvardict.training import SGD, Adam, StepDecay


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).standard_normal((120, 8)).astype(np.float32)


@pytest.mark.parametrize("atom_norm", [1.0, 0.5])
@pytest.mark.parametrize("decoder", ["linear", MLP((10,))], ids=["linear", "mlp"])
@pytest.mark.filterwarnings("ignore:.*solver did not converge:sklearn.exceptions.ConvergenceWarning")
def test_every_row_of_the_decoder_keeps_its_norm(X, decoder, atom_norm):
    model = StandardDictionaryLearning(6, atom_norm=atom_norm, decoder=decoder, max_iter=3, random_state=0).fit(X)
    matrices = [array for name, array in model.params_.items() if name.startswith("decoder.") and array.ndim == 2]
    assert len(matrices) == (1 if decoder == "linear" else 2)
    for matrix in matrices:
        np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), atom_norm, rtol=1e-5)


def test_without_a_norm_the_atoms_move_away_from_it(X):
    free = StandardDictionaryLearning(6, atom_norm=None, max_iter=3, random_state=0).fit(X)
    assert np.abs(np.linalg.norm(free.components_, axis=1) - 1).max() > 0.05


def test_standard_model_is_the_variance_model_without_hinge_and_with_norm(X):
    settings = {
        "gamma": 2.0,
        "init": "random",
        "optimizer": Adam(1e-3, encoder_learning_rate=3e-4),
        "max_iter": 2,
        "random_state": 0,
    }
    standard = StandardDictionaryLearning(6, atom_norm=None, **settings).fit(X)
    variance = VarianceDictionaryLearning(6, beta=0.0, **settings).fit(X)
    np.testing.assert_array_equal(standard.components_, variance.components_)


def test_gradient_step_on_the_dictionary_is_the_textbook_one():
    rng = np.random.default_rng(1)
    X, atoms = rng.standard_normal((20, 8)), rng.standard_normal((5, 8))
    eta, kappa = 0.05, 0.3
    model = WeightDecayDictionaryLearning(
        5,
        init=atoms,
        encoder=None,
        positive_code=False,
        optimizer=SGD(eta * 8 / 2, momentum=0, nesterov=False, max_grad_norm=None),
        weight_decay=4 * kappa / 8,
        alpha=0.1,
        solver=FISTA(max_iter=5000, tol=1e-12),
        max_iter=1,
        early_stopping=False,
    )
    first = clone(model).set_params(optimizer__learning_rate=1e-300).fit(X)
    np.testing.assert_allclose(first.components_, atoms)
    codes = first.transform(X)
    expected = atoms + eta * (codes.T @ (X - codes @ atoms) / len(X) - 2 * kappa * atoms)
    np.testing.assert_allclose(model.fit(X).components_, expected, rtol=1e-8, atol=1e-10)


def test_weight_decay_shrinks_the_decoder(X):
    norms = [
        np.linalg.norm(
            WeightDecayDictionaryLearning(6, weight_decay=decay, max_iter=20, random_state=0).fit(X).components_
        )
        for decay in (0.0, 0.1)
    ]
    assert norms[1] < 0.95 * norms[0]


@pytest.mark.filterwarnings("ignore:.*solver did not converge")  # single rows cycle at the kinks of the decoder
def test_nonlinear_decoder_without_encoder_leaves_zero(X):
    model = StandardDictionaryLearning(
        6,
        encoder=None,
        decoder=MLP((10,)),
        alpha=1e-3,
        solver=FISTA(max_iter=2000, tol=1e-2),
        max_iter=3,
        random_state=0,
    ).fit(X)
    assert (model.transform(X) > 0).mean() > 0.2


def test_learning_rate_decay_acts_on_the_decoder_alone(X):
    model = VarianceDictionaryLearning(
        6,
        optimizer=Adam(3e-4, encoder_learning_rate=1e-4, schedule=StepDecay(1e-12, 1), encoder_schedule=None),
        max_iter=2,
        early_stopping=False,
        random_state=0,
    )
    constant = Adam(3e-4, encoder_learning_rate=1e-4)
    one = VarianceDictionaryLearning(6, optimizer=constant, max_iter=1, early_stopping=False, random_state=0).fit(X)
    two = model.fit(X)
    np.testing.assert_allclose(two.components_, one.components_, rtol=1e-6)
    encoder = [name for name in two.params_ if name.startswith("encoder.")]
    assert any(np.abs(two.params_[name] - one.params_[name]).max() > 1e-5 for name in encoder)


def test_init_from_data_takes_centred_rows_as_directions(X):
    model = VarianceDictionaryLearning(
        6, init="data", optimizer=Adam(1e-30, encoder_learning_rate=1e-4), max_iter=1, random_state=0
    ).fit(X)
    centred = X - X.mean(axis=0)
    cosine = model.components_ @ centred.T
    cosine /= np.linalg.norm(model.components_, axis=1)[:, None] * np.linalg.norm(centred, axis=1)
    assert len(set(cosine.argmax(1))) == 6
    np.testing.assert_allclose(cosine.max(1), 1, rtol=1e-5)
    uniform = VarianceDictionaryLearning(
        6, init="random", optimizer=Adam(1e-30, encoder_learning_rate=1e-4), max_iter=1, random_state=0
    ).fit(X)
    np.testing.assert_allclose(
        np.linalg.norm(model.components_, axis=1), np.linalg.norm(uniform.components_, axis=1), rtol=1e-5
    )


def test_init_from_an_array_starts_there_and_finds_planted_atoms():
    signals = make_sparse_coded_signals(400, n_components=10, n_features=16, n_nonzero=2, random_state=0)
    X, _, atoms = signals
    model = StandardDictionaryLearning(
        10,
        init=atoms,
        alpha=0.005,
        optimizer=Adam(1e-3, encoder_learning_rate=3e-4),
        max_iter=5,
        random_state=0,
    ).fit(X)
    assert (model.components_ * atoms).sum(1).min() > 0.99


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"init": np.zeros((3, 8))}, r"init has shape \(3, 8\), but n_components=6"),
        ({"init": np.full((6, 8), np.nan)}, "init contains NaN"),
        ({"init": "data", "n_components": 500}, "init='data' takes 500 distinct rows"),
        ({"init": "data", "decoder": "mlp"}, "linear dictionary, but decoder='mlp'"),
        ({"init": "rows"}, "'init' parameter"),
        ({"optimizer": "lbfgs"}, "'optimizer' parameter"),
    ],
)
def test_bad_parameters_are_named(X, params, message):
    with pytest.raises(ValueError, match=message):
        VarianceDictionaryLearning(**{"n_components": 6, "max_iter": 1, **params}).fit(X)
