"""Paths of lasso codes, and every way that sparse_encode finds them, against optimality conditions."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import lasso_path

from skvardict import alpha_for_nonzeros, alpha_max, sparse_encode, sparse_encode_path
from skvardict.energies import from_sklearn_alpha

# Few rows are coded one by one; many in working sets from 256 atoms on, one by one from 1024 on, else together.
SIZES = {
    "one row": (1, 40, 30),
    "few rows": (8, 300, 20),
    "many rows": (60, 40, 30),
    "more features than atoms": (60, 20, 50),
    "working sets": (60, 300, 20),
    "many atoms": (20, 1100, 20),
    "many atoms and rows": (90, 1100, 16),
}


def draw(n_samples, n_components, n_features, coherent=False, seed=0):
    rng = np.random.default_rng(seed)
    atoms = rng.standard_normal((n_components, n_features)) + (1.5 if coherent else 0)
    return rng.standard_normal((n_samples, n_features)) + (1 if coherent else 0), atoms


def violation(X, atoms, codes, alpha, positive):
    """Return how far codes are from 0 being a subgradient, relative to alpha."""
    pull = (X - codes @ atoms) @ atoms.T * 2 / X.shape[1]
    on_support = np.abs(pull - alpha * np.sign(codes))[codes != 0]
    off_support = (pull if positive else np.abs(pull))[codes == 0] - alpha
    return max(on_support.max(initial=0), off_support.max(initial=0)) / alpha


@pytest.mark.parametrize("fraction", [0.5, 0.1, 0.01])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("coherent", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_codes_meet_the_optimality_conditions(size, coherent, positive, fraction):
    X, atoms = draw(*SIZES[size], coherent)
    alpha = fraction * alpha_max(X, atoms, positive=positive)
    codes = sparse_encode(X, atoms, alpha=alpha, positive=positive, tol=1e-10)
    assert not positive or (codes >= 0).all()
    # a relative gap of 1e-10 leaves about its square root in the gradient
    assert violation(X, atoms, codes, alpha, positive) < 1e-4


@pytest.mark.parametrize("size", SIZES)
def test_codes_do_not_depend_on_the_order_of_atoms_rows_or_on_units(size):
    X, atoms = draw(*SIZES[size])
    rng = np.random.default_rng(1)
    rows, order = rng.permutation(len(X)), rng.permutation(len(atoms))
    alpha = 0.2 * alpha_max(X, atoms)
    codes = sparse_encode(X, atoms, alpha=alpha, tol=1e-12)
    np.testing.assert_allclose(
        sparse_encode(X[rows], atoms[order], alpha=alpha, tol=1e-12), codes[rows][:, order], atol=1e-7
    )
    scaled = sparse_encode(1e3 * X, 10 * atoms, alpha=1e4 * alpha, tol=1e-12)
    np.testing.assert_allclose(scaled, 100 * codes, atol=1e-5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_degenerate_rows_and_atoms(size, positive):
    X, atoms = draw(*SIZES[size])
    X, atoms = X.copy(), np.vstack([atoms, atoms[:5], np.zeros((2, atoms.shape[1]))])
    X[0] = 0
    alpha = 0.1 * max(alpha_max(X, atoms, positive=positive), 0.1)
    codes = sparse_encode(X, atoms, alpha=alpha, positive=positive, tol=1e-10)
    assert not codes[0].any()
    assert not codes[:, -2:].any()
    assert violation(X, atoms, codes, alpha, positive) < 1e-4


@pytest.mark.parametrize("n_samples", [1, 20])
@pytest.mark.parametrize("positive", [True, False])
def test_one_atom_has_a_closed_form(n_samples, positive):
    X, atoms = draw(n_samples, 1, 7)
    codes = sparse_encode(X, atoms, alpha=0.05, positive=positive, tol=1e-12)
    pull = X @ atoms.T
    shrunk = np.sign(pull) * np.maximum(np.abs(pull) - 0.05 * 7 / 2, 0) / (atoms @ atoms.T)
    np.testing.assert_allclose(codes, np.maximum(shrunk, 0) if positive else shrunk, atol=1e-12)


def test_few_rows_have_the_codes_that_they_have_among_many():
    X, atoms = draw(40, 80, 30)
    whole = sparse_encode(X, atoms, alpha=0.1, tol=1e-12)
    for few in (X[:1], X[5:12]):
        start = 0 if len(few) == 1 else 5
        np.testing.assert_allclose(
            sparse_encode(few, atoms, alpha=0.1, tol=1e-12), whole[start : start + len(few)], atol=1e-7
        )


def test_float32_rows_are_coded_in_double_precision():
    X, atoms = (a.astype(np.float32) for a in draw(30, 300, 20))
    codes = sparse_encode(X, atoms, alpha=0.1, tol=1e-10)
    assert codes.dtype == np.float32
    exact = sparse_encode(X.astype(np.float64), atoms.astype(np.float64), alpha=0.1, tol=1e-10)
    np.testing.assert_array_equal(codes, exact.astype(np.float32))


# --- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("size", ["one row", "many rows", "working sets", "many atoms"])
def test_a_path_equals_its_points(size, positive):
    X, atoms = draw(*SIZES[size])
    path = sparse_encode_path(X, atoms, n_alphas=6, eps=0.02, positive=positive, tol=1e-11)
    assert (np.diff(path.alphas) < 0).all()
    assert path.codes.shape == (6, len(X), len(atoms))
    assert not path.codes[0].any()
    assert (path.gaps <= 1e-11).all()
    np.testing.assert_array_equal(path.n_nonzero, (path.codes != 0).sum(2).mean(1))
    for alpha, codes in zip(path.alphas[1:], path.codes[1:], strict=True):
        np.testing.assert_allclose(codes, sparse_encode(X, atoms, alpha=alpha, positive=positive, tol=1e-11), atol=1e-5)


def test_a_path_equals_that_of_scikit_learn():
    X, atoms = draw(1, 24, 32)
    largest = np.abs(atoms @ X[0]).max() / 32  # scikit-learn's own choice, which older releases ask for by another name
    alphas = largest * np.geomspace(1, 1e-2, 5)
    alphas, codes, _ = lasso_path(atoms.T, X[0], alphas=alphas, tol=1e-12, max_iter=100_000)
    # scikit-learn weighs half the mean squared error
    path = sparse_encode_path(X, atoms, alphas=2 * alphas, positive=False, tol=1e-12)
    np.testing.assert_allclose(path.codes[:, 0], codes.T, atol=1e-6)
    assert path.alphas[0] == pytest.approx(alpha_max(X, atoms, positive=False))
    assert from_sklearn_alpha(32 * alphas[0], 32) == pytest.approx(path.alphas[0])


def test_weights_may_come_in_any_order_and_tensors_stay_tensors():
    X, atoms = (torch.from_numpy(a) for a in draw(20, 40, 30))
    path = sparse_encode_path(X, atoms, alphas=[0.05, 0.2, 0.1])
    assert path.alphas.tolist() == [0.2, 0.1, 0.05]
    assert isinstance(path.codes, torch.Tensor)
    assert isinstance(path.gaps, torch.Tensor)


@pytest.mark.parametrize("alphas", [[], [0.1, 0.0], [np.nan], [-1.0]])
def test_bad_weights_are_refused(alphas):
    with pytest.raises(ValueError, match="alphas to be finite numbers greater than 0"):
        sparse_encode_path(*draw(3, 4, 5), alphas=alphas)


def test_points_that_do_not_converge_are_counted():
    with pytest.warns(ConvergenceWarning, match=r"of 1000 codes did not reach"):
        sparse_encode_path(*draw(50, 40, 30), max_iter=1, tol=1e-12)


# --- numbers of non-zeros ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("wanted", [0.5, 3, 12])
def test_the_weight_of_a_number_of_nonzeros(wanted, positive):
    X, atoms = draw(300, 60, 30)
    alpha = alpha_for_nonzeros(X, atoms, wanted, positive=positive)
    found = (sparse_encode(X, atoms, alpha=alpha, positive=positive) != 0).sum(1).mean()
    assert found == pytest.approx(wanted, rel=0.03)


def test_more_nonzeros_than_there_are_is_an_error():
    with pytest.raises(ValueError, match=r"codes of X have .* non-zeros on average .* Ask for fewer"):
        alpha_for_nonzeros(*draw(20, 10, 30), 11)
    with pytest.raises(ValueError, match="greater than 0"):
        alpha_for_nonzeros(*draw(20, 10, 30), 0)
