"""The paper's training step, written out a second time in NumPy and double precision.

Evtimova & LeCun, algorithms 1 and 2: predict with the encoder; FISTA at a constant step, started at the prediction and
coupled to it; a step of Adam for the decoder and one for the encoder. Gradients are by hand; nothing of the package
is used but the first weights.
"""

import numpy as np
import pytest
from sklearn.base import clone

from skvardict import recipes

N_ROWS, N_FEATURES, N_COMPONENTS = 40, 12, 8
ALPHA, TOLERANCE, N_STEPS = 0.02, 1e-3, 3


def _predict(X, weights):
    """Return the layers of LISTA: ``z_0 = relu(u), z_i = relu(u + z_{i-1} S)`` with ``u = x U + b``."""
    U, S, b = weights
    u = X @ U + b
    layers = [np.maximum(u, 0)]
    for _ in range(3):
        layers.append(np.maximum(u + layers[-1] @ S, 0))
    return layers


def _encoder_gradients(X, weights, codes):
    """Return the gradients of ``mean (z_3 - codes)^2`` by back-propagation."""
    S = weights[1]
    layers = _predict(X, weights)
    above = 2 * (layers[-1] - codes) / codes.size
    of_u, of_S = np.zeros_like(codes), np.zeros_like(S)
    for below, layer in zip(layers[-2::-1], layers[:0:-1]):
        above = above * (layer > 0)
        of_u += above
        of_S += below.T @ above
        above = above @ S.T
    of_u += above * (layers[0] > 0)
    return X.T @ of_u, of_S, of_u.sum(0)


def _hinge_pull(point, n_rows, beta, floor):
    """Return minus the gradient of ``beta sum_j [(T - s_j)_+]^2``."""
    deviations = point - point.mean(0)
    std = np.sqrt((deviations**2).sum(0) / (n_rows - 1))
    weight = np.where(
        (std > 0) & (std < floor), 2 * beta * (floor - std) / ((n_rows - 1) * np.where(std > 0, std, 1)), 0
    )
    return weight * deviations


def _infer(X, atoms, prediction, *, gamma, beta, floor, step):
    """Return FISTA's codes; a row that has converged is frozen, and counts in the deviations of the others."""
    (n_rows, n_features), n_components = X.shape, len(atoms)
    codes, point, t = prediction.copy(), prediction.copy(), 1.0
    is_running = np.ones(n_rows, dtype=bool)
    for _ in range(200):
        pull = 2 / n_features * (X - point @ atoms) @ atoms.T + 2 * gamma / n_components * (prediction - point)
        pull += _hinge_pull(point, n_rows, beta, floor)
        new = np.maximum(point + step * (pull - ALPHA), 0)
        new[~is_running] = codes[~is_running]
        change, size = np.linalg.norm(new - codes, axis=1), np.linalg.norm(codes, axis=1)
        following_t = (1 + np.sqrt(1 + 4 * t**2)) / 2
        point = new + (t - 1) / following_t * (new - codes)
        codes, t = new, following_t
        is_running &= change > TOLERANCE * size
        point[~is_running] = codes[~is_running]
        if not is_running.any():
            break
    return codes


class _Adam:
    """Kingma & Ba, algorithm 1, with decay added to the gradient."""

    def __init__(self, rate, decay=0.0):
        self.rate, self.decay = rate, decay
        self.first, self.second, self.n_steps = 0.0, 0.0, 0

    def step(self, weights, gradient):
        gradient = gradient + self.decay * weights
        self.n_steps += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        mean = self.first / (1 - 0.9**self.n_steps)
        square = self.second / (1 - 0.999**self.n_steps)
        return weights - self.rate * mean / (np.sqrt(square) + 1e-8)


def _train(X, atoms, encoder, settings):
    """Return atoms and encoder after a step for each batch."""
    decoder_steps = _Adam(settings["rate"])
    decays = 0.0, 0.0, settings["encoder_bias_decay"]
    encoder_steps = [_Adam(settings["encoder_rate"], decay) for decay in decays]
    energy = {name: settings[name] for name in ("gamma", "beta", "floor", "step")}
    for _ in range(N_STEPS):
        codes = _infer(X, atoms, _predict(X, encoder)[-1], **energy)
        gradients = _encoder_gradients(X, encoder, codes)
        atoms = decoder_steps.step(atoms, 2 / X.size * codes.T @ (codes @ atoms - X))
        if settings["norm"] is not None:
            atoms = settings["norm"] * atoms / np.linalg.norm(atoms, axis=1, keepdims=True)
        encoder = [steps.step(*pair) for steps, pair in zip(encoder_steps, zip(encoder, gradients))]
    return atoms, encoder


SETTINGS = {  # the rows of Table 3
    ("VDL", "mnist"): (5, 10, 0.5, 3e-4, 1e-4, 0.0, 0.5, None),
    ("VDL", "patches"): (5, 10, 0.5, 3e-4, 1e-4, 1e-2, 0.5, None),
    ("SDL", "mnist"): (1, 0, 0.5, 1e-3, 3e-4, 0.0, 1.0, 1.0),
}
NAMES = ["gamma", "beta", "floor", "rate", "encoder_rate", "encoder_bias_decay", "step", "norm"]


@pytest.mark.parametrize(("kind", "data"), SETTINGS)
@pytest.mark.filterwarnings("ignore:.*(never active|reached max_iter).*")
def test_three_steps_are_those_of_the_paper(kind, data):
    X = np.random.default_rng(0).normal(size=(N_ROWS, N_FEATURES))
    short = {"n_components": N_COMPONENTS, "batch_size": N_ROWS, "max_iter": 1, "random_state": 0, "device": "cpu"}
    model = recipes.table3(kind, data, alpha=ALPHA, **short)
    model.set_params(solver__check_every=1)  # a test for convergence in every iteration, as in the paper
    first = _first_weights(model, X)
    for _ in range(N_STEPS):  # the whole of X is one batch: the order of rows changes nothing
        model.partial_fit(X)
    atoms, encoder = _train(X, *first, dict(zip(NAMES, SETTINGS[kind, data], strict=True)))
    np.testing.assert_allclose(model.components_, atoms, rtol=0, atol=1e-11)
    for found, expected in zip(_encoder_weights(model), encoder, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)
    moved = [np.abs(a - b).max() for a, b in zip([atoms, *encoder], [first[0], *first[1]], strict=True)]
    assert min(moved) > 1e-4


def _first_weights(model, X):
    """Return the weights that training starts from: those after a step at a rate too small to change a bit."""
    rates = {"optimizer__learning_rate": 1e-300, "optimizer__encoder_learning_rate": 1e-300}
    still = clone(model).set_params(**rates).partial_fit(X)
    return still.components_.copy(), _encoder_weights(still)


def _encoder_weights(model):
    encoder = model.encoder_
    return [tensor.detach().numpy().copy() for tensor in (encoder.input, encoder.recurrent, encoder.bias)]
