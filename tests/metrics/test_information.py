from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import entropy, multivariate_normal, norm

from skvardict.metrics import multi_information


def _entropy_of(words):
    return entropy(list(Counter(words).values()), base=2)


@pytest.fixture
def codes():
    rng = np.random.default_rng(0)
    return rng.laplace(size=(400, 5)) * (rng.uniform(size=(400, 5)) < 0.4)


def test_binned_counts_words(codes):
    edges = np.linspace(-1, 1, 4)
    symbols = np.digitize(codes, edges)
    expected = sum(_entropy_of(column.tolist()) for column in symbols.T) - _entropy_of(map(tuple, symbols.tolist()))
    assert multi_information(codes, bin_edges=edges) == pytest.approx(expected, rel=1e-12)


def test_exact_zeros_are_a_symbol_of_their_own():
    values = np.repeat([[0.0], [1e-3]], 8, axis=0).astype(np.float32)
    assert multi_information(np.hstack([values, values])) == pytest.approx(1.0)
    assert multi_information(np.hstack([values + 1e-3, values + 1e-3])) == 0


def test_binned_of_dense_codes_is_limited_by_the_number_of_rows():
    codes = np.random.default_rng(0).normal(size=(64, 30))  # independent components, every word different
    edges = np.sort(np.append(np.linspace(-2, 2, 20), 0))  # no value is exactly zero: 22 of the 23 symbols occur
    marginals = sum(_entropy_of(np.digitize(column, edges).tolist()) for column in codes.T)
    assert multi_information(codes) == pytest.approx(marginals - np.log2(64))


def test_gaussian_is_the_gap_between_scipys_entropies():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4))
    covariance = np.cov(codes, rowvar=False)
    nats = norm.entropy(scale=np.sqrt(np.diag(covariance))).sum() - multivariate_normal(cov=covariance).entropy()
    assert multi_information(codes, method="gaussian") == pytest.approx(nats / np.log(2), rel=1e-10)


def test_copula_of_a_gaussian_has_the_closed_form_and_ignores_increasing_maps():
    rho = 0.8
    pair = np.random.default_rng(0).multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=20000)
    bits = multi_information(pair, method="copula")
    assert bits == pytest.approx(-0.5 * np.log2(1 - rho**2), abs=0.02)  # standard error .01
    bent = np.column_stack([np.exp(pair[:, 0]), pair[:, 1] ** 3])
    assert multi_information(bent, method="copula") == pytest.approx(bits, rel=1e-10)
    assert multi_information(bent, method="gaussian") < 0.8 * bits


@pytest.mark.parametrize("method", ["gaussian", "copula"])
def test_independent_components_have_the_stated_bias(method):
    n, n_components = 2000, 40
    codes = np.random.default_rng(0).normal(size=(n, n_components))
    bias = n_components * (n_components - 1) / (4 * n * np.log(2))
    assert multi_information(codes, method=method) == pytest.approx(bias, rel=0.15)


@pytest.mark.parametrize("method", ["binned", "gaussian", "copula"])
def test_constant_components_add_nothing_and_tensors_are_welcome(codes, method):
    bits = multi_information(codes, method=method)
    padded = np.insert(codes, 2, 0.3, axis=1)
    assert multi_information(torch.from_numpy(padded), method=method) == pytest.approx(bits, rel=1e-12)


def test_a_repeated_component_is_infinitely_informative():
    column = np.random.default_rng(0).integers(0, 2, size=(50, 1)).astype(float)
    assert multi_information(np.hstack([column, column]), method="gaussian") == np.inf


@pytest.mark.parametrize("seed", range(5))
def test_a_sum_of_others_is_infinitely_informative_whatever_rounding_leaves(seed):
    codes = np.random.default_rng(seed).normal(size=(200, 4))
    assert multi_information(np.column_stack([codes, codes.sum(1)]), method="gaussian") == np.inf
    assert multi_information(np.column_stack([codes, codes.sum(1) + 1e-3 * codes[::-1, 0]]), method="gaussian") < 12


@pytest.mark.parametrize(
    ("codes", "parameters", "message"),
    [
        (np.zeros(3), {}, r"shape \(n_samples, n_components\)"),
        ([[np.nan, 0.0]], {}, "NaN or infinity"),
        (np.eye(3), {"method": "knn"}, "method='knn'"),
        (np.eye(3), {"method": "gaussian"}, "3 rows and 3 such components"),
        (np.eye(3), {"bin_edges": [1.0, 0.0]}, "increasing bin_edges"),
    ],
)
def test_unfit_input_is_named(codes, parameters, message):
    with pytest.raises(ValueError, match=message):
        multi_information(codes, **parameters)
