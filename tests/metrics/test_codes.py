import numpy as np
import pytest
import torch
from scipy.sparse import coo_array, csr_matrix

from skvardict.datasets import make_sparse_coded_signals
from skvardict.metrics import dead_component_mask, dead_components, sparsity


def test_sparsity_of_codes_with_a_known_number_of_zeros():
    _, codes, _ = make_sparse_coded_signals(n_samples=20, n_components=32, n_nonzero=4, random_state=0)
    assert sparsity(codes) == 1 - 4 / 32


def test_tiny_values_and_nan_are_not_zeros():
    assert sparsity([0.0, -0.0, 1e-300, np.nan]) == 0.5


@pytest.mark.parametrize("container", [np.asarray, torch.as_tensor])
def test_dead_components_are_zero_in_every_row(container):
    codes = np.ones((6, 5), dtype=np.float32)
    codes[:, [1, 4]] = 0
    codes[:5, 2] = 0
    mask = dead_component_mask(container(codes))
    assert type(mask) is type(container(codes))
    assert mask.tolist() == [False, True, False, False, True]
    assert dead_components(container(codes)) == 2
    assert type(dead_components(container(codes))) is int
    assert type(sparsity(container(codes))) is float
    assert sparsity(container(codes)) == 17 / 30


@pytest.mark.parametrize("shape", [(4,), (0, 4), (2, 3, 4)])
def test_dead_components_need_rows_of_codes(shape):
    with pytest.raises(ValueError, match="n_samples, n_components"):
        dead_components(np.zeros(shape))


def test_sparsity_of_nothing_is_an_error():
    with pytest.raises(ValueError, match=r"shape \(0, 3\)"):
        sparsity(np.zeros((0, 3)))


def test_sparse_matrices_are_codes():
    codes = np.array([[0.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    for kind in (csr_matrix, coo_array):
        assert sparsity(kind(codes)) == sparsity(codes)
        np.testing.assert_array_equal(dead_component_mask(kind(codes)), dead_component_mask(codes))
