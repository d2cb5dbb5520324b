import tracemalloc

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils import estimator_checks as checks

from skvardict.preprocessing import PatchSampler


@pytest.fixture
def images():
    """Images in which every pixel says where it is: 10,000 image + 100 row + column."""
    shapes = [(20, 30), (40, 15), (8, 6)]
    return [10000 * i + 100 * np.arange(h)[:, None] + np.arange(w) for i, (h, w) in enumerate(shapes)]


def test_patches_are_windows_at_the_places_they_name(images):
    drawn = PatchSampler((8, 6), n_patches=300, random_state=0).sample(images)
    offsets = 100 * np.arange(8)[:, None] + np.arange(6)
    expected = drawn.image_index * 10000 + drawn.corners @ [100, 1]
    np.testing.assert_array_equal(drawn.patches, expected[:, None] + offsets.ravel())
    assert drawn.patches.dtype == np.float32


def test_images_and_places_are_equally_likely(images):
    n_patches = 60000
    drawn = PatchSampler((8, 6), n_patches=n_patches, random_state=0).sample(images)
    # five standard errors of a share of a third
    np.testing.assert_allclose(np.bincount(drawn.image_index) / n_patches, 1 / 3, atol=5 * 0.002)
    rows = drawn.corners[drawn.image_index == 0, 0]
    np.testing.assert_allclose(np.bincount(rows, minlength=13) / len(rows), 1 / 13, atol=0.01)


def test_the_seed_decides_the_patches(images):
    first, again, other = (
        PatchSampler((4, 4), n_patches=20, random_state=seed).fit_transform(images) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_float64_is_kept_and_a_stack_is_as_good_as_a_list():
    stack = np.random.default_rng(0).uniform(size=(4, 9, 9))
    sampler = PatchSampler((3, 3), n_patches=5, random_state=0)
    assert sampler.transform(stack).dtype == np.float64
    np.testing.assert_array_equal(sampler.transform(stack), sampler.transform(list(stack)))


def test_a_stack_of_bytes_is_not_converted_whole():
    stack = np.random.default_rng(0).integers(0, 256, size=(50, 100, 100), dtype=np.uint8)
    tracemalloc.start()
    patches = PatchSampler((4, 4), n_patches=5, random_state=0).fit_transform(stack)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert patches.dtype == np.float32
    assert peak < stack.nbytes / 2


def test_patches_in_colour_hold_all_channels(images):
    colour = [np.stack([image, image + 0.25, image + 0.5], axis=-1) for image in images]
    grey, drawn = (PatchSampler((8, 6), n_patches=30, random_state=0).sample(some) for some in (images, colour))
    np.testing.assert_array_equal(drawn.corners, grey.corners)
    channels = drawn.patches.reshape(30, 8, 6, 3)
    for channel, shift in enumerate((0, 0.25, 0.5)):
        np.testing.assert_allclose(channels[..., channel].reshape(30, -1), grey.patches + shift)
    sampler = PatchSampler((8, 6), n_patches=3, random_state=0).fit(colour)
    assert len(sampler.get_feature_names_out()) == 8 * 6 * 3
    assert sampler.set_output(transform="pandas").transform(colour).shape == (3, 144)


def test_grey_and_colour_do_not_mix(images):
    colour = np.zeros((20, 20, 3))
    for some in ([colour, images[0]], [images[0], colour], [colour, np.zeros((20, 20, 4))]):
        with pytest.raises(ValueError, match="Image 1 has shape"):
            PatchSampler((4, 4)).fit(some)


def test_scikit_learn_conventions_hold(images):
    sampler = clone(PatchSampler([8, 6], n_patches=3))
    assert sampler.fit(images) is sampler
    assert list(sampler.get_feature_names_out()[:2]) == ["patchsampler0", "patchsampler1"]
    assert sampler.set_output(transform="pandas").transform(images).shape == (3, 48)
    checks.check_param_validation("PatchSampler", PatchSampler())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"patch_size": (9, 6)}, "Image 2 has 8 x 6 pixels, fewer than a patch of 9 x 6"),
        ({"patch_size": (0, 6)}, r"got \(0, 6\)"),
        ({"patch_size": (3,)}, r"got \(3,\)"),
        ({"n_patches": 0}, "n_patches >= 1, but got 0"),
        ({"patch_size": (4.0, 4)}, "'float' object cannot be interpreted as an integer"),
    ],
)
def test_impossible_requests_are_refused(images, parameters, message):
    with pytest.raises((ValueError, TypeError), match=message):
        PatchSampler(**{"patch_size": (4, 4), **parameters}).fit_transform(images)


def test_images_with_a_hole_are_named(images):
    images[1] = np.where(images[1] == 10000, np.nan, images[1])
    for method in ("fit", "transform"):
        with pytest.raises(ValueError, match="Image 1 contains NaN or infinity"):
            getattr(PatchSampler((4, 4)), method)(images)
