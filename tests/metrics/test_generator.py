import numpy as np
import pytest
from scipy.stats import pointbiserialr
from sklearn.decomposition import SparseCoder
from sklearn.linear_model import LinearRegression

from skvardict.datasets import make_sparse_coded_signals
from skvardict.metrics import estimated_dictionary, point_biserial, sparse_coding_objective


@pytest.fixture
def planted():
    return make_sparse_coded_signals(n_samples=200, n_components=32, n_nonzero=4, random_state=0)


def test_the_objective_is_what_a_lasso_minimises(planted):
    X, _, components = planted
    X = X.astype(np.float64)
    components = components.astype(np.float64)
    d = X.shape[1]
    # scikit-learn's coder minimises 1/2 |x - zW|^2 + lambda |z|_1
    codes = SparseCoder(components, transform_algorithm="lasso_lars", transform_alpha=0.1).transform(X)
    best = sparse_coding_objective(X, codes @ components, codes, alpha=2 * 0.1 / d)
    assert best.total == pytest.approx(best.reconstruction + best.l1)
    assert best.l1 == pytest.approx(0.1 * np.abs(codes).sum(1).mean())
    assert best.zero_code == pytest.approx(0.5 * (X**2).sum(1).mean())
    rng = np.random.default_rng(0)
    for scale in (1e-3, 1e-2):
        other = codes + scale * rng.normal(size=codes.shape)
        assert sparse_coding_objective(X, other @ components, other, alpha=2 * 0.1 / d).total > best.total
    assert best.total < best.zero_code


def test_codes_of_zeros_score_the_baseline(planted):
    X, codes, _ = planted
    result = sparse_coding_objective(X, 0 * X, 0 * codes, alpha=0.1)
    assert result.total == result.zero_code


def test_the_estimated_dictionary_is_ordinary_least_squares(planted):
    X, codes, components = planted
    np.testing.assert_allclose(estimated_dictionary(X, codes), components, atol=1e-5)  # planted in float32
    rng = np.random.default_rng(0)
    noisy = X + 0.1 * rng.normal(size=X.shape)
    expected = LinearRegression(fit_intercept=False).fit(codes, noisy).coef_.T
    np.testing.assert_allclose(estimated_dictionary(noisy, codes), expected, atol=1e-5)


def test_a_dead_component_has_no_atom(planted):
    X, codes, _ = planted
    codes = codes.copy()
    codes[:, 3] = 0
    atoms = estimated_dictionary(X, codes)
    assert np.abs(atoms[3]).max() < 1e-12  # rounding of the pseudo-inverse
    assert np.isfinite(atoms).all()


def test_point_biserial_is_that_of_scipy():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, size=(60, 3)) * 2 - 1
    codes = rng.normal(size=(60, 4)) + 0.5 * labels[:, :1]
    expected = [[pointbiserialr(label > 0, code).statistic for code in codes.T] for label in labels.T]
    np.testing.assert_allclose(point_biserial(labels, codes), expected, rtol=1e-12)


def test_constant_columns_have_no_correlation():
    codes = np.column_stack([np.arange(4.0), np.ones(4)])
    correlation = point_biserial([[0, 1], [0, 0], [0, 1], [0, 0]], codes)
    assert np.isnan(correlation).tolist() == [[True, True], [False, True]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sparse_coding_objective(np.ones((2, 3)), np.ones((2, 3)), np.ones((3, 3)), alpha=1), "codes has 3"),
        (lambda: sparse_coding_objective(np.ones((2, 3)), np.ones((2, 4)), np.ones((2, 3)), alpha=1), "one shape"),
        (lambda: estimated_dictionary(np.ones((2, 3)), np.ones((4, 3))), "X has 2, codes has 4 rows"),
        (lambda: point_biserial([[0], [1], [2]], np.ones((3, 1))), r"columns \[0\] have more than two values"),
    ],
)
def test_unfit_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
