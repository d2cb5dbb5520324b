"""Non-negative dictionaries: planted parts are found, as well as by scikit-learn, in gradient and online fits."""

import numpy as np
import pytest
from sklearn.decomposition import NMF, MiniBatchDictionaryLearning

from skvardict import (
    StandardDictionaryLearning,
    VarianceDictionaryLearning,
    WeightDecayDictionaryLearning,
    sparse_encode,
)
from skvardict.energies import to_sklearn_alpha
from skvardict.networks import MLP
from skvardict.training import Adam, OnlineUpdate

pytestmark = pytest.mark.filterwarnings("ignore:.*mean square of X:UserWarning")
ESTIMATORS = [VarianceDictionaryLearning, StandardDictionaryLearning, WeightDecayDictionaryLearning]


def planted_parts(n_rows=400, seed=0):
    """Return rows that are sums of few non-negative parts, and the parts, of norm 1."""
    generator = np.random.default_rng(seed)
    parts = np.zeros((8, 24))
    for index, part in enumerate(parts):
        part[3 * index : 3 * index + 4] = generator.uniform(0.5, 1, size=len(part[3 * index : 3 * index + 4]))
    parts /= np.linalg.norm(parts, axis=1, keepdims=True)
    codes = generator.exponential(size=(n_rows, 8)) * (generator.random((n_rows, 8)) < 0.25)
    X = codes @ parts + 0.01 * generator.random((n_rows, 24))
    scale = np.sqrt((X**2).mean())
    return X / scale, parts


@pytest.mark.parametrize("encoder", ["lista", None])
@pytest.mark.parametrize("optimizer", ["auto", Adam(1e-2), OnlineUpdate()])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_atoms_are_non_negative_whatever_trains_them(estimator, optimizer, encoder):
    X = np.random.default_rng(0).standard_normal((60, 10))
    coder = estimator(
        5, positive_dict=True, optimizer=optimizer, encoder=encoder, max_iter=3, batch_size=20, random_state=0
    ).fit(X)
    assert coder.components_.min() == 0  # signed rows pull at the bound
    assert coder.components_.max() > 0
    assert coder.partial_fit(X).components_.min() == 0
    if estimator is StandardDictionaryLearning:
        np.testing.assert_allclose(np.linalg.norm(coder.components_, axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("estimator", "encoder"),
    [(StandardDictionaryLearning, None), (StandardDictionaryLearning, "lista"), (WeightDecayDictionaryLearning, None)],
)
def test_planted_parts_are_found(estimator, encoder):
    X, parts = planted_parts()
    coder = estimator(8, positive_dict=True, encoder=encoder, init="data", random_state=1).fit(X)
    atoms = coder.components_ / np.linalg.norm(coder.components_, axis=1, keepdims=True)
    assert (parts @ atoms.T).max(axis=1).min() > 0.97


def test_the_objective_is_as_low_as_that_of_scikit_learn():
    """Codes of both dictionaries by one solver, so that only the atoms differ."""
    X, _ = planted_parts()
    alpha = 0.01

    def objective(atoms):
        codes = sparse_encode(X, atoms, alpha=alpha)
        return float(((X - codes @ atoms) ** 2).mean(1).mean() + alpha * codes.sum(1).mean())

    ours = StandardDictionaryLearning(8, alpha=alpha, positive_dict=True, encoder=None, random_state=0).fit(X)
    theirs = MiniBatchDictionaryLearning(
        8,
        alpha=to_sklearn_alpha(alpha, 24),
        fit_algorithm="cd",
        positive_dict=True,
        positive_code=True,
        batch_size=50,
        max_iter=60,
        tol=0,
        max_no_improvement=None,
        random_state=0,
    ).fit(X)
    nmf = NMF(8, init="nndsvda", max_iter=1000, random_state=0).fit(X)
    atoms = nmf.components_ / np.linalg.norm(nmf.components_, axis=1, keepdims=True)
    assert objective(ours.components_) < 1.02 * objective(theirs.components_)
    assert objective(ours.components_) < 1.02 * objective(atoms)


@pytest.mark.parametrize("decoder", ["mlp", MLP((7,))])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_other_decoders_are_refused_by_name(estimator, decoder):
    coder = estimator(4, decoder=decoder, positive_dict=True)
    with pytest.raises(ValueError, match=rf"{estimator.__name__}: positive_dict=True needs a linear decoder"):
        coder.fit(np.random.default_rng(0).standard_normal((30, 10)))


def test_given_atoms_are_brought_to_the_constraint():
    X, _ = planted_parts(60)
    given = np.random.default_rng(0).standard_normal((4, 24))
    coder = WeightDecayDictionaryLearning(
        4, init=given, positive_dict=True, optimizer=Adam(1e-12), max_iter=1, random_state=0
    ).fit(X)
    np.testing.assert_allclose(coder.components_, np.maximum(given, 0), atol=1e-6)
