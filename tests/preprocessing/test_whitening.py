import os

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skvardict.datasets import load_images
from skvardict.preprocessing import FourierWhitener


def wave(side, cycles, phase=0.4):
    return np.cos(2 * np.pi * cycles * np.arange(side) / side + phase)


@pytest.mark.parametrize("cycles", [1, 5, 12, 20])
@pytest.mark.parametrize("cutoff", [None, 10.0])
def test_a_plane_wave_is_multiplied_by_the_written_response(cycles, cutoff):
    image = np.tile(wave(64, cycles), (64, 1))
    f0 = 0.4 * 64 if cutoff is None else cutoff
    expected = cycles * np.exp(-((cycles / f0) ** 4)) * image
    whitener = FourierWhitener(cutoff=cutoff)
    np.testing.assert_allclose(whitener.fit_transform([image])[0], expected, atol=1e-10)
    np.testing.assert_allclose(whitener.transform([image.T])[0], expected.T, atol=1e-10)


def test_frequencies_of_an_oblong_image_are_counted_along_its_shorter_side():
    image = np.tile(wave(90, 9), (60, 1))  # 0.1 cycles per pixel: 6 cycles per 60 pixels
    expected = 6 * np.exp(-((6 / 24) ** 4)) * image
    np.testing.assert_allclose(FourierWhitener().fit_transform([image])[0], expected, atol=1e-10)


def test_the_mean_of_an_image_is_taken_out():
    image = np.random.default_rng(0).uniform(size=(31, 45))
    np.testing.assert_allclose(FourierWhitener().fit_transform([image + 100])[0].mean(), 0, atol=1e-10)


def test_one_common_factor_gives_the_variance_and_keeps_differences_in_contrast():
    rng = np.random.default_rng(0)
    photographs = [rng.normal(size=(40, 50)), 3 * rng.normal(size=(30, 30))]
    plain = FourierWhitener().fit_transform(photographs)
    whitener = FourierWhitener(variance=0.1).fit(photographs)
    scaled = whitener.transform(photographs)
    assert np.concatenate([image.ravel() for image in scaled]).var() == pytest.approx(0.1)
    for a, b in zip(plain, scaled):
        np.testing.assert_allclose(b, whitener.scale_ * a, rtol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "result"),
    [(np.float32, np.float32), (np.float64, np.float64), (np.uint8, np.float32), (bool, np.float32)],
)
@pytest.mark.parametrize("container", [list, np.stack])
def test_container_and_dtype_are_kept(dtype, result, container):
    photographs = container(list(np.random.default_rng(0).integers(0, 256, size=(3, 16, 15)).astype(dtype)))
    for variance in (None, 0.1):
        whitened = FourierWhitener(variance=variance).fit_transform(photographs)
        assert type(whitened) is type(photographs)
        assert {image.dtype for image in whitened} == {np.dtype(result)}
        assert whitened[0].shape == (16, 15)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"cutoff": 0.0}, "cutoff > 0"), ({"variance": -1.0}, "variance > 0, but got -1.0")],
)
def test_parameters_have_to_be_positive(parameters, message):
    with pytest.raises(ValueError, match=message):
        clone(FourierWhitener(**parameters)).fit([np.ones((4, 4))])


def test_unfit_images_are_refused():
    with pytest.raises(ValueError, match=r"Image 1 has shape \(4, 4, 3\)"):
        FourierWhitener().fit([np.ones((4, 4)), np.ones((4, 4, 3))])
    with pytest.raises(ValueError, match="at least one image"):
        FourierWhitener().fit([])
    with pytest.raises(ValueError, match="constant images"):
        FourierWhitener(variance=0.1).fit(
            [np.zeros((4, 4)), np.full((33, 31), 0.3)]
        )  # whose transform is not exactly 0
    with pytest.raises(ValueError, match="Image 1 contains NaN or infinity"):
        FourierWhitener().fit([np.ones((4, 4)), np.full((4, 4), np.nan)])
    with pytest.raises(ValueError, match="Image 0 is of complex128"):
        FourierWhitener().fit([np.full((4, 4), 1j)])
    with pytest.raises(NotFittedError):
        FourierWhitener().transform([np.ones((4, 4))])


def test_photographs_whitened_by_the_same_recipe_are_met():
    root = os.environ.get("SKVARDICT_DATA", "")
    stored = os.path.join(root, "whitened_natural_images.npz")
    if not root or not os.path.isfile(stored):
        pytest.skip("SKVARDICT_DATA does not name a folder with whitened_natural_images.npz")
    with np.load(stored) as data:
        expected, ids = data["IMAGES"], data["source_ids"]
    images, names = load_images(os.path.join(root, "natural_images", "train"))
    by_name = dict(zip(names, images))
    crops = []
    for number in ids:
        image = by_name[f"{number}.jpg"]
        top, left = ((side - 320) // 2 for side in image.shape)
        crops.append(image[top : top + 320, left : left + 320])
    whitened = FourierWhitener(variance=0.1).fit_transform(crops)
    # the stored images come from grey values that were not rounded to bytes; their deviation is 0.32
    difference = np.stack(whitened, axis=2) - expected
    assert np.abs(difference).max() < 0.02
    assert difference.std() < 0.002
