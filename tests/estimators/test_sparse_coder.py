"""SparseCoder and the algorithms of sparse_encode against scikit-learn's, and as an estimator."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix, issparse
from sklearn.base import clone
from sklearn.decomposition import SparseCoder as SklearnSparseCoder
from sklearn.decomposition import sparse_encode as sklearn_sparse_encode
from sklearn.linear_model import LogisticRegression, orthogonal_mp, orthogonal_mp_gram
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import skvardict
from skvardict import SparseCoder, sparse_encode
from skvardict.energies import from_sklearn_alpha, to_sklearn_alpha


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    atoms = rng.standard_normal((24, 16))
    return rng.standard_normal((50, 16)), atoms / np.linalg.norm(atoms, axis=1, keepdims=True)


class AnyWidth(SparseCoder):
    """Its dictionary has as many features as the rows it meets: scikit-learn's checks use data of many widths."""

    def _check_width(self, rows):
        return np.random.default_rng(0).standard_normal((self.n_components_, rows.n_features))


@parametrize_with_checks(
    [
        AnyWidth(np.eye(3)),
        AnyWidth(np.eye(3), transform_algorithm="omp", n_nonzero_coefs=2, positive_code=False),
        AnyWidth(np.eye(3), transform_algorithm="threshold"),
    ],
    expected_failed_checks=lambda _: {"check_transformer_n_iter": "fit makes no iterations, max_iter is of transform"},
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


# --- algorithms -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 4, 16])
def test_greedy_codes_equal_those_of_scikit_learn(problem, k):
    X, atoms = problem
    expected = orthogonal_mp_gram(atoms @ atoms.T, atoms @ X.T, n_nonzero_coefs=k).T
    codes = sparse_encode(X, atoms, algorithm="omp", n_nonzero_coefs=k, positive=False)
    np.testing.assert_allclose(codes, expected, atol=1e-8)  # a Gram matrix squares the condition of 16 atoms in 16 dims


def test_greedy_codes_end_at_a_relative_error(problem):
    X, atoms = problem
    codes = sparse_encode(X, atoms, algorithm="omp", positive=False, tol=0.1)
    for row, code in zip(X, codes, strict=True):
        expected = orthogonal_mp(atoms.T, row, tol=0.1 * row @ row)
        np.testing.assert_allclose(code, expected, atol=1e-9)


def test_greedy_codes_do_not_depend_on_the_norms_of_atoms(problem):
    X, atoms = problem
    norms = np.random.default_rng(1).uniform(0.1, 10, (24, 1))
    codes = sparse_encode(X, atoms, algorithm="omp", n_nonzero_coefs=5, positive=False)
    scaled = sparse_encode(X, atoms * norms, algorithm="omp", n_nonzero_coefs=5, positive=False)
    np.testing.assert_allclose(scaled * norms.T, codes, atol=1e-10)


@pytest.mark.filterwarnings("error")
def test_greedy_codes_of_degenerate_dictionaries(problem):
    X, atoms = problem
    X, atoms = np.vstack([X, np.zeros((1, 16))]), np.vstack([atoms[:3], atoms[:3], np.zeros((1, 16))])
    codes = sparse_encode(X, atoms, algorithm="omp", n_nonzero_coefs=7, positive=False)
    least_squares = X @ np.linalg.pinv(atoms) @ atoms
    np.testing.assert_allclose(codes @ atoms, least_squares, atol=1e-10)
    assert not codes[-1].any()
    assert not codes[:, -1].any()
    assert ((codes != 0).sum(1) <= 3).all()


@pytest.mark.parametrize("positive", [True, False])
def test_thresholded_codes_equal_those_of_scikit_learn(problem, positive):
    X, atoms = problem
    expected = sklearn_sparse_encode(X, atoms, algorithm="threshold", alpha=0.4, positive=positive)
    codes = sparse_encode(X, atoms, algorithm="threshold", alpha=from_sklearn_alpha(0.4, 16), positive=positive)
    np.testing.assert_allclose(codes, expected, atol=1e-12)


@pytest.mark.parametrize("positive", [True, False])
def test_thresholding_is_the_lasso_of_orthonormal_atoms(problem, positive):
    X = problem[0]
    atoms = np.linalg.qr(np.random.default_rng(1).standard_normal((16, 16)))[0]
    lasso = sparse_encode(X, atoms, alpha=0.05, positive=positive, tol=1e-12)
    threshold = sparse_encode(X, atoms, algorithm="threshold", alpha=0.05, positive=positive)
    np.testing.assert_allclose(threshold, lasso, atol=1e-8)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "expects alpha, a number"),
        ({"algorithm": "lasso_cd", "alpha": 0.1}, "one of lasso, omp, threshold, but got 'lasso_cd'.*\"lasso\" here"),
        ({"algorithm": "omp"}, r"signed. Pass positive=False"),
        ({"algorithm": "omp", "positive": False, "n_nonzero_coefs": 0}, "n_nonzero_coefs must be an integer"),
        ({"alpha": 0.1, "n_nonzero_coefs": 3}, 'belongs to algorithm="omp"'),
    ],
)
def test_what_does_not_belong_together_is_refused(problem, arguments, said):
    with pytest.raises(ValueError, match=said):
        sparse_encode(*problem, **arguments)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda X, W: sparse_encode(X, dictionary=W, alpha=0.1), "sparse_encode has no 'dictionary'; it is components"),
        (lambda X, W: sparse_encode(X, W, transform_alpha=0.1), "no 'transform_alpha'; it is alpha"),
        (lambda X, W: SparseCoder(W, transform_alpha=0.1), "SparseCoder has no 'transform_alpha'; it is alpha"),
        (lambda X, W: SparseCoder(components=W), "SparseCoder has no 'components'; it is dictionary"),
        (lambda X, W: SparseCoder(W, positive=True), "'positive'; it is positive_code"),
    ],
)
def test_names_of_scikit_learn_get_a_hint(problem, call, said):
    with pytest.raises(TypeError, match=said):
        call(*problem)


# --- the estimator ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positive", [True, False])
def test_codes_are_those_of_sparse_encode_and_of_scikit_learn(problem, positive):
    X, atoms = problem
    coder = SparseCoder(atoms, alpha=0.03, positive_code=positive, tol=1e-10)
    np.testing.assert_array_equal(coder.transform(X), sparse_encode(X, atoms, alpha=0.03, positive=positive, tol=1e-10))
    other = SklearnSparseCoder(
        atoms,
        transform_algorithm="lasso_cd" if positive else "lasso_lars",
        transform_alpha=to_sklearn_alpha(0.03, 16),
        positive_code=positive,
        transform_max_iter=10_000,
    )
    # scikit-learn's coordinate descent stops at a gap of 1e-4 of the squared norm
    np.testing.assert_allclose(coder.transform(X), other.transform(X), atol=3e-2 if positive else 1e-5)


@pytest.mark.parametrize("split_sign", [False, True])
@pytest.mark.parametrize("sparse_output", [False, True])
def test_rows_come_back_from_codes(problem, split_sign, sparse_output):
    X, atoms = problem
    coder = SparseCoder(
        atoms, alpha=1e-3, positive_code=False, split_sign=split_sign, sparse_output=sparse_output, tol=1e-6
    ).fit(X)
    codes = coder.transform(X)
    assert issparse(codes) == sparse_output
    assert codes.shape == (50, 48 if split_sign else 24) == (50, len(coder.get_feature_names_out()))
    np.testing.assert_allclose(coder.inverse_transform(codes), X, atol=0.1)
    np.testing.assert_allclose(coder.reconstruct(X), coder.inverse_transform(codes), rtol=1e-12)
    if split_sign:
        assert codes.min() == 0
    if sparse_output:
        plain = clone(coder).set_params(sparse_output=False).transform(X)
        np.testing.assert_array_equal(codes.toarray(), plain)
        assert codes.nnz == np.count_nonzero(plain)


def test_score_is_r2_of_the_reconstruction(problem):
    X, atoms = problem
    coder = SparseCoder(atoms, alpha=0.02, positive_code=False)
    error = np.square(X - coder.reconstruct(X)).sum()
    assert coder.score(X) == pytest.approx(1 - error / np.square(X - X.mean(0)).sum())
    assert coder.score(X, np.arange(50)) == coder.score(X)
    assert coder.score(X, X + 1) < coder.score(X)


def test_pipelines_and_searches_take_it(problem):
    X, atoms = problem
    y = (X[:, 0] > 0).astype(int)
    pipeline = make_pipeline(SparseCoder(atoms, sparse_output=True), LogisticRegression())
    search = GridSearchCV(pipeline, {"sparsecoder__alpha": [0.01, 10.0]}, cv=3).fit(X, y)
    assert search.best_params_ == {"sparsecoder__alpha": 0.01}  # at 10 all codes are zero
    search = GridSearchCV(SparseCoder(atoms), {"alpha": [0.01, 10.0]}, cv=3).fit(X)
    assert search.best_params_ == {"alpha": 0.01}


def test_files_and_pickles_keep_codes_and_names(problem, tmp_path):
    X, atoms = problem
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(16)])
    coder = SparseCoder(atoms, alpha=0.03, split_sign=True).fit(frame)
    coder.save(tmp_path / "coder")
    for other in (skvardict.load(tmp_path / "coder"), pickle.loads(pickle.dumps(coder))):
        np.testing.assert_array_equal(other.transform(frame), coder.transform(frame))
        assert list(other.feature_names_in_) == list(frame)
    never_fitted = SparseCoder(atoms)
    never_fitted.save(tmp_path / "other")
    np.testing.assert_array_equal(skvardict.load(tmp_path / "other").transform(X), never_fitted.transform(X))


@pytest.mark.parametrize("algorithm", ["lasso", "omp", "threshold"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_tensor_in_gives_a_tensor_out(problem, algorithm, dtype):
    X, atoms = (torch.from_numpy(a).to(dtype) for a in problem)
    coder = SparseCoder(atoms, transform_algorithm=algorithm, positive_code=False)
    codes = coder.transform(X.clone().requires_grad_())
    assert isinstance(codes, torch.Tensor)
    assert not codes.requires_grad
    assert codes.dtype == coder.inverse_transform(codes).dtype == dtype
    np.testing.assert_array_equal(codes.numpy(), coder.transform(X.numpy()))
    with pytest.raises(ValueError, match="scipy matrix, but X is a tensor"):
        coder.set_params(sparse_output=True).transform(X)


def test_encode_says_how_the_codes_were_reached(problem):
    X, atoms = problem
    result = SparseCoder(atoms, alpha=0.01, tol=1e-8).encode(X)
    assert result.converged.all()
    assert (result.n_iter > 0).all()


@pytest.mark.parametrize("bad", [np.eye(3), np.full((4, 16), np.nan), np.ones(16)])
def test_a_dictionary_that_does_not_fit_is_refused(problem, bad):
    with pytest.raises(ValueError, match=r"SparseCoder expects a dictionary of finite numbers, of shape"):
        SparseCoder(bad).fit(problem[0])


def test_sparse_codes_equal_dense_ones(problem):
    X, atoms = problem
    codes = sparse_encode(X, atoms, alpha=0.05, sparse_output=True)
    assert isinstance(codes, csr_matrix)
    assert codes.has_canonical_format
    np.testing.assert_array_equal(codes.toarray(), sparse_encode(X, atoms, alpha=0.05))


@pytest.mark.gpu
@pytest.mark.parametrize("algorithm", ["lasso", "omp", "threshold"])
@pytest.mark.parametrize("n_components", [24, 300])
def test_codes_on_a_gpu_equal_those_on_the_cpu(algorithm, n_components):
    rng = np.random.default_rng(0)
    X, atoms = rng.standard_normal((50, 16)), rng.standard_normal((n_components, 16))
    settings = {"transform_algorithm": algorithm, "alpha": 0.05, "n_nonzero_coefs": 4, "positive_code": False}
    expected = SparseCoder(atoms, **settings, tol=1e-10, device="cpu").transform(X)
    np.testing.assert_allclose(
        SparseCoder(atoms, **settings, tol=1e-10, device="cuda").transform(X), expected, atol=1e-6
    )
    codes = SparseCoder(torch.from_numpy(atoms).cuda(), **settings, tol=1e-10).transform(torch.from_numpy(X).cuda())
    assert codes.is_cuda
    np.testing.assert_allclose(codes.cpu().numpy(), expected, atol=1e-6)
