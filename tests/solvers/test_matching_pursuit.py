"""Orthogonal matching pursuit against scikit-learn's, row by row."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import orthogonal_mp, orthogonal_mp_gram

from skvardict.solvers import matching_pursuit
from skvardict.solvers.matching_pursuit import orthogonal_matching_pursuit


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(40, 16))
    codes = rng.normal(size=(50, 40)) * (rng.uniform(size=(50, 40)) < 0.1)
    return codes @ atoms + 0.1 * rng.normal(size=(50, 16)), atoms


def _pursue(X, atoms, max_error=0.0, *, most=16, observed=None):
    X, atoms, observed = (None if values is None else torch.as_tensor(values) for values in (X, atoms, observed))
    return orthogonal_matching_pursuit(X, atoms, most, max_error, observed=observed).numpy()


def _scikit_learn(row, atoms, tolerance):
    if row @ row <= tolerance:  # scikit-learn takes one atom at least
        return np.zeros(len(atoms))
    norms = np.linalg.norm(atoms, axis=1)
    return orthogonal_mp((atoms / norms[:, None]).T, row, tol=tolerance) / norms


@pytest.mark.parametrize("k", [1, 4, 16])
def test_codes_of_a_number_of_atoms_are_those_of_scikit_learn(problem, k):
    X, atoms = problem
    norms = np.linalg.norm(atoms, axis=1, keepdims=True)
    unit = atoms / norms
    expected = orthogonal_mp_gram(unit @ unit.T, unit @ X.T, n_nonzero_coefs=k).T / norms.T
    # a Gram matrix squares the condition of 16 atoms in 16 dims
    np.testing.assert_allclose(_pursue(X, atoms, most=k), expected, rtol=0, atol=1e-8)


def test_codes_of_an_error_are_those_of_scikit_learn(problem):
    X, atoms = problem
    expected = [_scikit_learn(row, atoms, 0.5) for row in X]
    np.testing.assert_allclose(_pursue(X, atoms, 0.5), expected, rtol=0, atol=1e-10)


def test_every_row_ends_at_its_own_error(problem):
    X, atoms = problem
    limits = torch.linspace(0.1, 5, len(X), dtype=torch.float64)
    codes = _pursue(X, atoms, limits)
    assert (np.square(X - codes @ atoms).sum(1) <= limits.numpy()).all()
    for number in (0, 20, 49):
        alone = _pursue(X[number : number + 1], atoms, float(limits[number]))
        np.testing.assert_allclose(alone[0], codes[number], rtol=0, atol=1e-12)


def test_a_masked_row_is_the_pursuit_in_its_observed_columns(problem):
    X, atoms = problem
    observed = np.random.default_rng(1).uniform(size=X.shape) < 0.7
    expected = [_scikit_learn(row[seen], atoms[:, seen], 0.5) for row, seen in zip(X, observed)]
    np.testing.assert_allclose(_pursue(X, atoms, 0.5, observed=observed), expected, rtol=0, atol=1e-9)


def test_unobserved_entries_do_not_matter(problem):
    X, atoms = problem
    observed = np.random.default_rng(1).uniform(size=X.shape) < 0.7
    one = _pursue(X, atoms, 0.5, most=8, observed=observed)
    other = _pursue(np.where(observed, X, 1e3), atoms, 0.5, most=8, observed=observed)
    np.testing.assert_array_equal(one, other)


def test_all_observed_is_no_mask(problem):
    X, atoms = problem
    masked = _pursue(X, atoms, 0.5, most=8, observed=np.ones_like(X))
    np.testing.assert_allclose(_pursue(X, atoms, 0.5, most=8), masked, rtol=0, atol=1e-12)


@pytest.mark.parametrize("has_mask", [False, True])
@pytest.mark.parametrize("bound", [("_ROWS", 7), ("_ENTRIES", 500), ("_ENTRIES", 1)])
def test_rows_that_are_pursued_together_do_not_matter(problem, monkeypatch, has_mask, bound):
    X, atoms = problem
    observed = np.random.default_rng(1).uniform(size=X.shape) < 0.7 if has_mask else None
    whole = _pursue(X, atoms, 0.5, observed=observed)
    monkeypatch.setattr(matching_pursuit, *bound)
    np.testing.assert_allclose(_pursue(X, atoms, 0.5, observed=observed), whole, rtol=0, atol=1e-11)


def test_bases_of_bounded_size(problem, monkeypatch):
    sizes = []
    take_atom = matching_pursuit._Pursuit.take_atom

    def watched(self, units):
        sizes.append(self.basis.numel() + self.triangle.numel())
        return take_atom(self, units)

    monkeypatch.setattr(matching_pursuit._Pursuit, "take_atom", watched)
    monkeypatch.setattr(matching_pursuit, "_ENTRIES", 2000)
    _pursue(*problem)
    assert 1000 < max(sizes) <= 2000


@pytest.mark.filterwarnings("error")
def test_rows_that_no_atom_can_explain_end_with_what_there_is():
    atoms = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 0, 0]])
    X = torch.tensor([[2.0, 1, 0], [0, 1, 0]])
    np.testing.assert_array_equal(_pursue(X, atoms, 1e-6, most=3), [[2, 0, 0], [0, 0, 0]])
    observed = torch.tensor([[0.0, 1, 1], [0, 0, 0]])
    np.testing.assert_array_equal(_pursue(X, atoms, 1e-6, most=3, observed=observed), np.zeros((2, 3)))


def test_dependent_atoms_give_the_least_squares_of_their_span(problem):
    X, atoms = problem
    X, atoms = np.vstack([X, np.zeros((1, 16))]), np.vstack([atoms[:3], 2 * atoms[:3], np.zeros((1, 16))])
    codes = _pursue(X, atoms, most=7)
    np.testing.assert_allclose(codes @ atoms, X @ np.linalg.pinv(atoms) @ atoms, rtol=0, atol=1e-10)
    assert not codes[-1].any()
    assert not codes[:, -1].any()
    assert ((codes != 0).sum(1) <= 3).all()


def test_no_rows_are_no_error():
    assert _pursue(torch.zeros(0, 3), torch.eye(3), 0.1, most=3).shape == (0, 3)
