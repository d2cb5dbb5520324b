import numpy as np
import pytest

from skvardict.datasets import make_sparse_coded_signals


@pytest.mark.parametrize("positive", [True, False])
def test_signals_are_what_they_are_said_to_be(positive):
    X, codes, dictionary = make_sparse_coded_signals(200, 20, 50, 3, positive=positive, random_state=0, dtype=float)
    np.testing.assert_allclose(X, codes @ dictionary, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(dictionary, axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal((codes != 0).sum(axis=1), 3)
    assert (codes.min() < 0) != positive
    magnitudes = np.abs(codes[codes != 0])
    assert magnitudes.min() >= 0.5
    assert magnitudes.max() <= 1.5


def test_every_component_is_used_about_equally_often():
    _, codes, _ = make_sparse_coded_signals(20000, 4, 10, 2, random_state=0)
    # a share of 0.2 has a standard error of 0.003 over 20,000 rows
    np.testing.assert_allclose((codes != 0).mean(axis=0), 0.2, atol=0.015)


def test_noise_has_the_given_standard_deviation():
    X, codes, dictionary = make_sparse_coded_signals(2000, 50, noise_std=0.3, random_state=0, dtype=float)
    assert (X - codes @ dictionary).std() == pytest.approx(0.3, rel=0.02)


def test_the_seed_decides_everything():
    first, second = (make_sparse_coded_signals(10, random_state=3) for _ in range(2))
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], make_sparse_coded_signals(10, random_state=4)[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_results_have_the_dtype_asked_for(dtype):
    results = make_sparse_coded_signals(5, random_state=0, dtype=dtype)
    assert {result.dtype for result in results} == {np.dtype(dtype)}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_nonzero": 33}, "n_components=32, but got 33"),
        ({"noise_std": -1.0}, "noise_std >= 0, but got -1.0"),
        ({"noise_std": np.nan}, "noise_std >= 0, but got nan"),
    ],
)
def test_impossible_requests_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        make_sparse_coded_signals(**parameters)
