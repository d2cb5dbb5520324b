import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from scipy.stats import chi2
from sklearn.decomposition import PCA

from skvardict import StandardDictionaryLearning
from skvardict.images import inpaint_image
from skvardict.preprocessing import OverlappingPatches
from skvardict.solvers.matching_pursuit import orthogonal_matching_pursuit


@pytest.fixture(scope="module")
def image():
    rows, columns = np.mgrid[:28, :30]
    return np.sin(rows / 2) * np.cos(columns / 3) + rows / 20


@pytest.fixture(scope="module")
def missing(image):
    return np.random.default_rng(0).uniform(size=image.shape) < 0.4


@pytest.fixture(scope="module")
def coder(image):
    return PCA(12).fit(OverlappingPatches(4).fit_transform(image))


def _nearest(image, missing):
    return image[tuple(distance_transform_edt(missing, return_distances=False, return_indices=True))]


def _rms(values):
    return np.sqrt(np.mean(values**2))


def test_missing_pixels_are_filled_better_than_by_the_nearest_and_by_the_mean(image, missing):
    filled = inpaint_image(image, missing, patch_size=4, random_state=0)
    error = _rms((filled - image)[missing])
    assert error < 0.5 * _rms((_nearest(image, missing) - image)[missing])
    assert error < 0.2 * _rms((image[~missing].mean() - image)[missing])


def test_observed_pixels_are_as_they_were_and_missing_ones_are_not_read(image, missing, coder):
    filled = inpaint_image(image, missing, coder, patch_size=4)
    np.testing.assert_array_equal(filled[~missing], image[~missing])
    for garbage in (np.nan, np.inf, 1e9):
        other = inpaint_image(np.where(missing, garbage, image), missing, coder, patch_size=4)
        np.testing.assert_array_equal(filled, other)


def test_nan_pixels_are_the_mask(image, missing, coder):
    by_mask = inpaint_image(image, missing, coder, patch_size=4)
    np.testing.assert_array_equal(inpaint_image(np.where(missing, np.nan, image), None, coder, patch_size=4), by_mask)


def test_masked_pixels_are_missing(image, missing, coder):
    masked = np.ma.masked_array(image, mask=missing)
    by_mask = inpaint_image(image, missing, coder, patch_size=4)
    np.testing.assert_array_equal(inpaint_image(masked, None, coder, patch_size=4), by_mask)


def test_pixels_are_averages_of_masked_pursuits_by_observed_share(image, missing, coder):
    tall = slice(None, 9), slice(None, 7)
    pixels, hidden, sigma = image[tall], missing[tall], 0.05
    observed = ~hidden
    total, weights = np.zeros(pixels.shape), np.zeros(pixels.shape)
    atoms = torch.from_numpy(np.vstack([coder.components_, np.ones(16)]))
    for row in range(6):
        for column in range(4):
            where = slice(row, row + 4), slice(column, column + 4)
            seen, patch = observed[where].ravel(), pixels[where].ravel()
            mean = patch[seen].mean()
            target = sigma**2 * chi2.ppf(0.93, seen.sum() - 1)
            centred = torch.from_numpy(np.where(seen, patch - mean, 0))[None]
            codes = orthogonal_matching_pursuit(centred, atoms, 4, target, observed=torch.from_numpy(seen)[None])
            total[where] += seen.mean() * ((codes @ atoms).numpy().reshape(4, 4) + mean)
            weights[where] += seen.mean()
    expected = np.where(hidden, total / weights, pixels)
    np.testing.assert_allclose(inpaint_image(pixels, hidden, coder, sigma=sigma, patch_size=4), expected, atol=1e-10)


def test_nothing_missing_is_nothing_changed(image, coder):
    np.testing.assert_array_equal(inpaint_image(image, np.zeros(image.shape, bool), coder, patch_size=4), image)


def test_the_middle_of_a_hole_wider_than_patches_is_the_nearest_pixel(image, coder):
    hole = np.zeros(image.shape, bool)
    hole[5:20, 5:20] = True
    filled = inpaint_image(image, hole, coder, patch_size=4)
    np.testing.assert_array_equal(filled[10:15, 10:15], _nearest(image, hole)[10:15, 10:15])


@pytest.mark.parametrize("shape_of_mask", ["pixels", "channels"])
def test_colour_images(image, missing, shape_of_mask):
    colour = np.stack([image, image[::-1], 1 - image], axis=2)
    mask = missing if shape_of_mask == "pixels" else np.random.default_rng(1).uniform(size=colour.shape) < 0.4
    quick = StandardDictionaryLearning(24, encoder=None, positive_code=False, max_iter=10, random_state=0)
    filled, fitted = inpaint_image(colour, mask, quick, patch_size=4, return_estimator=True, random_state=0)
    hidden = np.broadcast_to(mask.reshape(*mask.shape[:2], -1), colour.shape)
    nearest = np.dstack([_nearest(colour[..., channel], hidden[..., channel]) for channel in range(3)])
    assert _rms(filled - colour) < 0.6 * _rms(nearest - colour)
    assert fitted.n_features_in_ == 48
    assert filled.shape == colour.shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": np.zeros((3, 3), bool)}, r"mask has shape \(3, 3\)"),
        ({"mask": np.ones((28, 30), bool)}, "no pixel of a channel is observed"),
        ({"sigma": -1}, "sigma to be a finite number"),
        ({"n_rounds": 0}, "n_rounds must be an integer of at least 1"),
        ({"image": np.full((28, 30), np.inf)}, "contains infinity"),
        ({"image": np.full((28, 30), np.nan), "mask": np.zeros((28, 30))}, "contains NaN or infinity"),
    ],
)
def test_what_cannot_be_filled_is_refused(image, change, message):
    with pytest.raises(ValueError, match=message):
        inpaint_image(**{"image": image, "patch_size": 4, **change})
