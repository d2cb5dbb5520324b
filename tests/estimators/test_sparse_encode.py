"""sparse_encode against scikit-learn's coordinate descent, and at its edges."""

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from sklearn.decomposition import sparse_encode as sklearn_sparse_encode
from sklearn.exceptions import ConvergenceWarning

from skvardict import alpha_max, sparse_encode
from skvardict.energies import to_sklearn_alpha


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    atoms = rng.standard_normal((24, 16))
    return rng.standard_normal((50, 16)), atoms / np.linalg.norm(atoms, axis=1, keepdims=True)


@pytest.mark.parametrize("positive", [True, False])
def test_codes_equal_those_of_scikit_learn(problem, positive):
    X, atoms = problem
    codes = sparse_encode(X, atoms, alpha=0.03, positive=positive, tol=1e-12)
    expected = sklearn_sparse_encode(
        X, atoms, algorithm="lasso_cd", alpha=to_sklearn_alpha(0.03, 16), positive=positive, max_iter=100_000
    )

    # scikit-learn stops at its own tolerance of 1e-4 of the squared norm
    def objective(z):
        return 0.5 * ((X - z @ atoms) ** 2).sum(1) + to_sklearn_alpha(0.03, 16) * np.abs(z).sum(1)

    assert (objective(codes) <= objective(expected) + 1e-9).all()
    np.testing.assert_allclose(objective(codes), objective(expected), rtol=1e-3)


def test_codes_are_zero_from_alpha_max_on(problem):
    X, atoms = problem
    limit = alpha_max(X, atoms, positive=False)
    assert not sparse_encode(X, atoms, alpha=limit * 1.001, positive=False).any()
    assert sparse_encode(X, atoms, alpha=limit * 0.99, positive=False, tol=1e-8).any()


def test_containers_and_dtypes_are_kept(problem):
    X, atoms = problem
    codes = sparse_encode(torch.from_numpy(X), torch.from_numpy(atoms), alpha=0.05)
    assert isinstance(codes, torch.Tensor)
    assert sparse_encode(X.astype(np.float32), atoms, alpha=0.05).dtype == np.float32
    np.testing.assert_array_equal(codes.numpy(), sparse_encode(X, atoms, alpha=0.05))


def test_bad_input_is_named(problem):
    X, atoms = problem
    with pytest.raises(ValueError, match="16 features, but the atoms in components have 15"):
        sparse_encode(X, atoms[:, :15], alpha=0.1)
    with pytest.raises(ValueError, match="expects alpha to be a finite number, at least 0, but got -1"):
        sparse_encode(X, atoms, alpha=-1)


def test_rows_that_do_not_converge_are_counted(problem):
    X, atoms = problem
    with pytest.warns(ConvergenceWarning, match="of 50 rows"):
        sparse_encode(X, atoms, alpha=0.01, tol=1e-12, max_iter=5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("n_components", [6, 25])
@pytest.mark.parametrize("positive", [True, False])
def test_without_a_penalty_codes_are_those_of_least_squares(n_components, positive):
    rng = np.random.default_rng(0)
    X, atoms = rng.standard_normal((30, 10)), rng.standard_normal((n_components, 10))
    codes = sparse_encode(X, atoms, alpha=0, positive=positive, max_iter=2000)
    error = np.square(X - codes @ atoms).sum(1)
    if positive:
        expected = np.array([nnls(atoms.T, row)[1] ** 2 for row in X])
        assert (codes >= 0).all()
    else:
        expected = np.square(X - np.linalg.lstsq(atoms.T, X.T)[0].T @ atoms).sum(1)
    np.testing.assert_allclose(error, expected, rtol=1e-6, atol=1e-6)
