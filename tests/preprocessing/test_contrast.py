import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_checks as checks

from skvardict.preprocessing import LocalContrastNormalizer


def images(n=6, shape=(52, 52), dtype=np.float64):
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(n, *shape)), (0, 3, 3)) * rng.uniform(1, 9, (n, 1, 1))
    return (smooth + rng.normal(size=(n, 1, 1))).reshape(n, -1).astype(dtype)


def by_scipy(image, window_size, sigma, min_scale):
    """The definition, image by image, by scipy's correlation in two dimensions."""
    line = np.exp(-0.5 * ((np.arange(window_size) - window_size // 2) / sigma) ** 2)
    window = np.outer(line, line) / line.sum() ** 2
    margin = window_size // 2
    inner = (slice(margin, -margin),) * 2
    mean = ndimage.correlate(image, window)[inner]
    centred = image[inner] - mean
    std = np.sqrt(ndimage.correlate(centred**2, window)[inner])
    scale = np.maximum(np.maximum(std, std.mean()), min_scale)
    return centred[inner] / scale, mean[inner], scale


@pytest.mark.parametrize(
    ("shape", "window_size", "sigma", "output_shape"),
    [((52, 52), 13, 5.0, (28, 28)), ((20, 31), 5, 1.2, (12, 23)), ((5, 5), 3, 100.0, (1, 1))],
)
def test_normalisation_is_the_definition(shape, window_size, sigma, output_shape):
    X = images(shape=shape)
    normalizer = LocalContrastNormalizer(shape, window_size, sigma).fit(X)
    result = normalizer.normalize(X)
    assert normalizer.output_shape_ == output_shape
    for row, *parts in zip(X, *result):
        expected = by_scipy(row.reshape(shape), window_size, sigma, 1e-4)
        for part, values in zip(parts, expected):
            np.testing.assert_allclose(part.reshape(output_shape), values, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(normalizer.transform(X), result.patches)


def test_the_inverse_gives_the_central_pixels_back():
    X = images()
    normalizer = LocalContrastNormalizer().fit(X)
    centre = X.reshape(-1, 52, 52)[:, 12:-12, 12:-12].reshape(len(X), -1)
    np.testing.assert_allclose(normalizer.inverse(*normalizer.normalize(X)), centre, rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.3, 200, 1e3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_constant_images_become_zero(value, dtype):
    X = np.full((2, 52 * 52), value).astype(dtype)
    result = LocalContrastNormalizer().fit(X).normalize(X)
    np.testing.assert_array_equal(result.patches, 0)
    np.testing.assert_array_equal(result.local_mean, X[:, :784])
    np.testing.assert_array_equal(result.local_scale, np.asarray(1e-4, dtype=result.local_scale.dtype))


def test_brightness_and_contrast_of_an_image_do_not_matter():
    X = images()
    normalizer = LocalContrastNormalizer().fit(X)
    np.testing.assert_allclose(normalizer.transform(5 * X + 3), normalizer.transform(X), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_do_not_depend_on_each_other_or_on_the_block(dtype, read_in_blocks_of):
    X = images(n=11, dtype=dtype) * np.logspace(-2, 2, 11, dtype=dtype)[:, None]
    normalizer = LocalContrastNormalizer().fit(X)
    whole = normalizer.transform(X)
    assert whole.dtype == dtype
    read_in_blocks_of(3 * 52 * 52)
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-12}
    np.testing.assert_allclose(normalizer.transform(X), whole, **tolerance)
    np.testing.assert_allclose(np.concatenate([normalizer.transform(row[None]) for row in X]), whole, **tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_give_tensors_with_the_values_of_arrays(dtype):
    X = torch.from_numpy(images()).to(dtype)
    normalizer = LocalContrastNormalizer().fit(X)
    for part, expected in zip(normalizer.normalize(X), normalizer.normalize(X.numpy())):
        assert isinstance(part, torch.Tensor)
        assert part.dtype == dtype
        np.testing.assert_allclose(part.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_bytes_become_float32():
    X = np.random.default_rng(0).integers(0, 256, size=(2, 52 * 52), dtype=np.uint8)
    normalizer = LocalContrastNormalizer().fit(X)
    assert normalizer.transform(X).dtype == np.float32
    np.testing.assert_allclose(normalizer.transform(X), normalizer.transform(X.astype(float)), atol=1e-4)


def test_scikit_learn_conventions_hold():
    X = images()
    normalizer = clone(LocalContrastNormalizer(image_shape=(52, 52), sigma=4.0)).fit(X)
    assert len(normalizer.get_feature_names_out()) == 784
    frame = normalizer.set_output(transform="pandas").transform(X)
    assert frame.columns[0] == "localcontrastnormalizer0"
    checks.check_param_validation("LocalContrastNormalizer", LocalContrastNormalizer())
    with pytest.raises(NotFittedError):
        LocalContrastNormalizer().transform(X)
    with pytest.raises(ValueError, match="features"):
        normalizer.transform(X[:, :-1])


@pytest.mark.parametrize(
    ("parameters", "n_features", "message"),
    [
        ({}, 50, "50 features are no square number"),
        ({"image_shape": (5, 9)}, 50, r"image_shape=\(5, 9\), 45 pixels, but the rows have 50"),
        ({}, 24 * 24, "takes 24 pixels off each side, but the images have 24 x 24"),
        ({"window_size": 12}, 52 * 52, "odd positive window_size, but got 12"),
        ({"sigma": 0.0}, 52 * 52, "sigma > 0, but got 0.0"),
        ({"min_scale": -1.0}, 52 * 52, "min_scale > 0, but got -1.0"),
    ],
)
def test_parameters_that_do_not_fit_are_named(parameters, n_features, message):
    with pytest.raises(ValueError, match=message):
        LocalContrastNormalizer(**parameters).fit(np.ones((2, n_features)))


def test_the_inverse_needs_the_means_of_the_same_rows():
    X = images()
    normalizer = LocalContrastNormalizer().fit(X)
    result = normalizer.normalize(X)
    with pytest.raises(ValueError, match=r"one shape, but got \(2, 784\)"):
        normalizer.inverse(result.patches[:2], result.local_mean, result.local_scale)


def test_a_floor_that_is_a_number_replaces_the_mean_deviation_of_the_image():
    X = np.random.default_rng(0).normal(size=(3, 40 * 40))
    free = LocalContrastNormalizer((40, 40), floor=0.0).fit(X).normalize(X)
    scale = free.local_scale
    fixed = LocalContrastNormalizer((40, 40), floor=1.0).fit(X).normalize(X)
    np.testing.assert_allclose(fixed.local_scale, np.maximum(scale, 1.0))
    np.testing.assert_allclose(fixed.patches, free.patches * scale / np.maximum(scale, 1.0))
