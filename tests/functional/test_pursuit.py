import numpy as np
import pytest
import torch
from sklearn.linear_model import orthogonal_mp

from skvardict.functional import pursue


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(40, 16))
    codes = rng.normal(size=(50, 40)) * (rng.uniform(size=(50, 40)) < 0.1)
    return codes @ atoms + 0.1 * rng.normal(size=(50, 16)), atoms


def _scikit_learn(row, unit, tolerance):
    if row @ row <= tolerance:  # scikit-learn takes one atom at least
        return np.zeros(len(unit))
    return orthogonal_mp(unit.T, row, tol=tolerance)


def test_reconstructions_and_numbers_of_atoms_are_those_of_scikit_learn(problem):
    X, atoms = problem
    reconstruction, n_atoms = pursue(torch.from_numpy(X), torch.from_numpy(atoms), 0.5, max_atoms=16)
    unit = atoms / np.linalg.norm(atoms, axis=1, keepdims=True)
    for row, found, count in zip(X, reconstruction.numpy(), n_atoms.tolist()):
        code = _scikit_learn(row, unit, 0.5)
        assert np.count_nonzero(code) == count
        np.testing.assert_allclose(found, code @ unit, rtol=0, atol=1e-10)


def test_every_row_ends_at_its_own_error(problem):
    X, atoms = map(torch.from_numpy, problem)
    limits = torch.linspace(0.1, 5, len(X), dtype=X.dtype)
    reconstruction, n_atoms = pursue(X, atoms, limits, max_atoms=16)
    assert ((X - reconstruction).square().sum(1) <= limits).all()
    for number in (0, 20, 49):
        alone, count = pursue(X[number : number + 1], atoms, float(limits[number]), max_atoms=16)
        assert count == n_atoms[number]
        torch.testing.assert_close(alone[0], reconstruction[number], rtol=0, atol=1e-12)


def test_a_masked_row_is_the_pursuit_in_its_observed_columns(problem):
    X, atoms = problem
    observed = np.random.default_rng(1).uniform(size=X.shape) < 0.7
    reconstruction, n_atoms = pursue(
        torch.from_numpy(X), torch.from_numpy(atoms), 0.5, max_atoms=16, observed=torch.from_numpy(observed)
    )
    unit = atoms / np.linalg.norm(atoms, axis=1, keepdims=True)
    for row, seen, found, count in zip(X, observed, reconstruction.numpy(), n_atoms.tolist()):
        norms = np.linalg.norm(unit[:, seen], axis=1)
        code = _scikit_learn(row[seen], unit[:, seen] / norms[:, None], 0.5)
        assert np.count_nonzero(code) == count
        np.testing.assert_allclose(found, (code / norms) @ unit, rtol=0, atol=1e-9)


def test_unobserved_entries_do_not_matter(problem):
    X, atoms = map(torch.from_numpy, problem)
    observed = torch.rand(X.shape, generator=torch.Generator().manual_seed(0)) < 0.7
    one = pursue(X, atoms, 0.5, max_atoms=8, observed=observed)
    other = pursue(torch.where(observed, X, 1e3), atoms, 0.5, max_atoms=8, observed=observed)
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_all_observed_is_no_mask(problem):
    X, atoms = map(torch.from_numpy, problem)
    plain = pursue(X, atoms, 0.5, max_atoms=8)
    masked = pursue(X, atoms, 0.5, max_atoms=8, observed=torch.ones_like(X))
    torch.testing.assert_close(plain, masked, rtol=0, atol=1e-12)


def test_blocks_of_rows_do_not_matter(problem, monkeypatch):
    X, atoms = map(torch.from_numpy, problem)
    whole = pursue(X, atoms, 0.5, max_atoms=8)
    monkeypatch.setattr("skvardict.functional.pursuit._ROWS", 7)
    torch.testing.assert_close(pursue(X, atoms, 0.5, max_atoms=8), whole, rtol=0, atol=1e-12)


def test_rows_that_no_atom_can_explain_end_with_what_there_is():
    atoms = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 0, 0]])
    X = torch.tensor([[2.0, 1, 0], [0, 1, 0]])
    reconstruction, n_atoms = pursue(X, atoms, 1e-6, max_atoms=3)
    torch.testing.assert_close(reconstruction, torch.tensor([[2.0, 0, 0], [0, 0, 0]]))
    assert n_atoms.tolist() == [3, 3]
    nothing = pursue(X, atoms, 1e-6, max_atoms=3, observed=torch.tensor([[0.0, 1, 1], [0, 0, 0]]))[0]
    assert (nothing == 0).all()


def test_no_rows_are_no_error():
    reconstruction, n_atoms = pursue(torch.zeros(0, 3), torch.eye(3), 0.1, max_atoms=3)
    assert reconstruction.shape == (0, 3)
    assert n_atoms.shape == (0,)
