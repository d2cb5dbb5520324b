import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from sklearn.metrics import r2_score

from skvardict.metrics import psnr, r2


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(50, 36))
    return X, X + rng.normal(scale=rng.uniform(0.01, 0.5, size=(50, 1)), size=X.shape)


@pytest.mark.parametrize("data_range", [1.0, 255])
def test_psnr_is_the_mean_of_the_row_values_of_scikit_image(pair, data_range):
    X, X_reconstructed = pair
    expected = np.mean([peak_signal_noise_ratio(a, b, data_range=data_range) for a, b in zip(X, X_reconstructed)])
    assert psnr(X, X_reconstructed, data_range=data_range) == pytest.approx(expected, rel=1e-12)


def test_psnr_of_bytes_does_not_wrap_around():
    X = np.array([[0, 255]], dtype=np.uint8)
    X_reconstructed = np.array([[1, 254]], dtype=np.uint8)
    assert psnr(X, X_reconstructed, data_range=255) == pytest.approx(20 * np.log10(255))


def test_perfect_rows_have_an_infinite_psnr(pair):
    X, X_reconstructed = pair
    X_reconstructed[3] = X[3]
    assert psnr(X, X_reconstructed) == np.inf


def test_r2_is_the_variance_weighted_score_of_scikit_learn(pair):
    X, X_reconstructed = pair
    expected = r2_score(X, X_reconstructed, multioutput="variance_weighted")
    assert r2(X, X_reconstructed) == pytest.approx(expected, rel=1e-12)


def test_r2_survives_a_large_offset(pair):
    X, X_reconstructed = pair
    # float64 keeps about 1e-16 * 1e6 of an entry, 1e-10 absolute, on entries of size one
    assert r2(X + 1e6, X_reconstructed + 1e6) == pytest.approx(r2(X, X_reconstructed), rel=1e-8)


def test_r2_of_constant_data_is_one_or_zero():
    X = np.full((5, 3), 0.1)
    assert r2(X, X) == 1.0
    assert r2(X, X + 1e-3) == 0.0


def test_r2_of_the_feature_means_is_zero(pair):
    X, _ = pair
    assert r2(X, np.broadcast_to(X.mean(0), X.shape)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("metric", [psnr, r2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_give_what_arrays_give(pair, metric, dtype):
    X, X_reconstructed = (torch.from_numpy(values).to(dtype) for values in pair)
    value = metric(X, X_reconstructed.requires_grad_())
    assert type(value) is float
    # the same float64 sums in another order
    assert value == pytest.approx(metric(X.numpy(), X_reconstructed.detach().numpy()), rel=1e-12)
    assert value == pytest.approx(metric(X.numpy(), X_reconstructed), rel=1e-12)


@pytest.mark.parametrize("metric", [psnr, r2])
def test_blocks_change_nothing(pair, metric, read_in_blocks_of):
    whole = metric(*pair)
    read_in_blocks_of(36 * 7)
    assert metric(*pair) == pytest.approx(whole, rel=1e-13)


@pytest.mark.parametrize("metric", [psnr, r2])
def test_images_count_as_one_row_each(pair, metric):
    X, X_reconstructed = pair
    assert metric(X.reshape(50, 6, 6), X_reconstructed.reshape(50, 6, 6)) == metric(X, X_reconstructed)


@pytest.mark.parametrize("metric", [psnr, r2])
@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((3, 4), (3, 5)), r"got \(3, 4\) and \(3, 5\)"),
        (((4,), (4,)), "reshape"),
        (((0, 4), (0, 4)), "one row"),
    ],
)
def test_unfit_shapes_are_named(metric, shapes, message):
    with pytest.raises(ValueError, match=message):
        metric(*map(np.zeros, shapes))


@pytest.mark.parametrize("data_range", [0, -1.0, float("nan")])
def test_psnr_needs_a_positive_range(pair, data_range):
    with pytest.raises(ValueError, match="positive data_range"):
        psnr(*pair, data_range=data_range)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("metric", [psnr, r2])
def test_errors_that_are_not_numbers_are_refused(metric, bad):
    X = np.random.default_rng(0).standard_normal((5, 3))
    broken = X.copy()
    broken[3, 1] = bad
    with pytest.raises(ValueError, match=f"{metric.__name__} expects finite X"):
        metric(broken, broken)
