import os

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.transform import resize

from skvardict.datasets import load_images
from skvardict.preprocessing import LocalContrastNormalizer, extract_normalized_patches
from skvardict.preprocessing._natural import _standardized


@pytest.fixture
def photographs():
    rng = np.random.default_rng(0)
    smooth = [ndimage.gaussian_filter(rng.normal(size=shape), 1.5) for shape in [(90, 130), (120, 80)]]
    return [((image - image.min()) / (image.max() - image.min())).astype(np.float32) for image in smooth]


def extract(photographs, n_patches=50, **parameters):
    return extract_normalized_patches(photographs, n_patches, **{"shorter_side": None, "random_state": 0, **parameters})


def test_patches_are_normalised_crops_of_the_photographs_they_name(photographs):
    result = extract(photographs, n_patches=5, floor="crop")
    assert result.image_shape == (28, 28)
    pixels = result.to_pixels()
    for patch, centre, index in zip(result.patches, pixels, result.image_index):
        windows = np.lib.stride_tricks.sliding_window_view(photographs[index], (52, 52))
        distance = np.abs(windows[:, :, 12:-12, 12:-12] - centre.reshape(28, 28)).max(axis=(2, 3))
        place = np.unravel_index(distance.argmin(), distance.shape)
        assert distance[place] < 1e-5  # float32, there and back
        crop = (windows[place].reshape(1, -1).astype(float) - 0.457) / 0.259
        expected = LocalContrastNormalizer((52, 52)).fit_transform(crop)
        np.testing.assert_allclose(patch, expected[0], atol=1e-4)


def test_patches_are_those_of_photographs_that_are_normalised_as_a_whole(photographs):
    result = extract(photographs, n_patches=5)
    for patch, scale, index in zip(result.patches, result.local_scale, result.image_index):
        image = (photographs[index].astype(float) - 0.457) / 0.259
        whole = LocalContrastNormalizer(image.shape).fit(image.reshape(1, -1)).normalize(image.reshape(1, -1))
        shape = tuple(side - 24 for side in image.shape)
        windows = np.lib.stride_tricks.sliding_window_view(whole.patches.reshape(shape), (28, 28))
        distance = np.abs(windows - patch.reshape(28, 28)).max(axis=(2, 3))
        place = np.unravel_index(distance.argmin(), distance.shape)
        assert distance[place] < 1e-4
        scales = np.lib.stride_tricks.sliding_window_view(whole.local_scale.reshape(shape), (28, 28))
        np.testing.assert_allclose(scale, scales[place].ravel(), rtol=1e-4)


def test_a_number_is_the_floor_of_all_patches_and_other_words_are_refused(photographs):
    crop, fixed = extract(photographs, floor="crop", min_std=0.1), extract(photographs, floor=0.5, min_std=0.1)
    assert fixed.local_scale.min() == pytest.approx(0.5)
    shared = (crop.local_scale[0] > 0.5) & (fixed.local_scale[0] > 0.5)
    np.testing.assert_allclose(crop.to_pixels()[0], fixed.to_pixels()[0], atol=1e-5)
    np.testing.assert_allclose(crop.patches[0][shared], fixed.patches[0][shared], rtol=1e-4)
    with pytest.raises(ValueError, match=r"floor='image', 'crop' or a number, but got 'batch'"):
        extract(photographs, floor="batch")


def test_reconstructions_go_back_through_the_clean_mean_and_scale(photographs):
    result = extract(photographs, mean=0.4, std=0.2)
    blank = result.to_pixels(np.zeros_like(result.patches))
    np.testing.assert_allclose(blank, result.local_mean * 0.2 + 0.4, rtol=1e-6)
    with pytest.raises(ValueError, match=r"shape \(50, 784\), but got \(49, 784\)"):
        result.to_pixels(result.patches[1:])
    patches = torch.from_numpy(result.patches).requires_grad_()
    np.testing.assert_array_equal(result.to_pixels(patches), result.to_pixels())


def test_rows_can_be_taken_by_photograph(photographs):
    result = extract(photographs)
    part = result.take(result.image_index == 1)
    assert set(part.image_index) == {1}
    np.testing.assert_array_equal(part.to_pixels(), result.to_pixels()[result.image_index == 1])


def test_patches_without_structure_are_dropped(photographs):
    half_empty = photographs[0].copy()
    half_empty[:, :65] = 0.5
    strict = extract([half_empty], n_patches=300, min_std=0.5)
    assert strict.patches.std(axis=1).min() >= 0.5
    assert extract([half_empty], n_patches=300, min_std=0.0).patches.std(axis=1).min() < 0.5


def test_more_patches_begin_with_the_same_rows(photographs):
    few, many = (extract(photographs, n_patches=n) for n in (10, 1500))
    np.testing.assert_allclose(many.patches[:10], few.patches, atol=1e-5)
    assert many.patches.shape == (1500, 784)
    assert not np.array_equal(extract(photographs, random_state=1).patches[:10], few.patches)


def test_flat_photographs_end_with_an_error_instead_of_an_endless_search():
    with pytest.raises(ValueError, match=r"reached min_std=0\.5"):
        extract([np.full((60, 60), 0.5)])


def test_requests_that_cannot_be_met_are_refused(photographs):
    with pytest.raises(ValueError, match="n_patches >= 1, but got 0"):
        extract(photographs, n_patches=0)
    with pytest.raises(ValueError, match=r"std > 0, but got 0\.0"):
        extract(photographs, std=0.0)
    with pytest.raises(ValueError, match="Image 0 contains NaN or infinity"):
        extract([np.full((60, 60), np.nan)])
    with pytest.raises(ValueError, match="fewer than a patch of 99 x 99"):
        extract(photographs, crop_size=99)


def test_the_shorter_side_is_resized_like_scikit_image_does(photographs):
    for photograph in photographs:
        resized = _standardized(photograph, 64, 0.0, 1.0)
        assert min(resized.shape) == 64
        height, width = photograph.shape
        assert resized.shape[0] / resized.shape[1] == pytest.approx(height / width, rel=0.02)
        # both are anti-aliased, by a triangle here and by a Gaussian there
        expected = resize(photograph, resized.shape, order=1, anti_aliasing=True)
        assert np.corrcoef(resized.ravel(), expected.ravel())[0, 1] > 0.99


def test_photographs_give_patches_of_about_unit_scale():
    folder = os.path.join(os.environ.get("SKVARDICT_DATA", ""), "natural_images", "val")
    if not os.path.isdir(folder):
        pytest.skip("SKVARDICT_DATA does not name a folder with natural_images/val")
    images, _ = load_images(folder)
    result = extract_normalized_patches(images[:20], 500, random_state=0)
    assert result.patches.shape == (500, 784)
    assert set(result.image_index) == set(range(20))
    assert 0.7 < result.patches.std() < 1.1
    pixels = result.to_pixels()
    assert pixels.min() > -1e-4
    assert pixels.max() < 1 + 1e-4
