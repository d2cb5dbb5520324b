import tracemalloc

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.feature_extraction.image import extract_patches_2d, reconstruct_from_patches_2d
from sklearn.pipeline import make_pipeline

from skvardict.preprocessing import OverlappingPatches
from skvardict.preprocessing._grid import PatchGrid


@pytest.fixture(params=[(13, 17), (13, 17, 3)])
def image(request):
    return np.random.default_rng(0).uniform(size=request.param)


@pytest.mark.parametrize("size", [(4, 4), (3, 5)])
def test_patches_are_those_of_scikit_learn(image, size):
    patches = OverlappingPatches(size, center=False).fit_transform(image)
    expected = extract_patches_2d(image, size)
    np.testing.assert_array_equal(patches, expected.reshape(len(expected), -1))


@pytest.mark.parametrize("size", [(4, 4), (3, 5)])
def test_averages_are_those_of_scikit_learn(image, size):
    cutter = OverlappingPatches(size, center=False).fit(image)
    changed = np.random.default_rng(1).normal(size=cutter.transform(image).shape)
    expected = reconstruct_from_patches_2d(changed.reshape(-1, *size, *image.shape[2:]), image.shape)
    np.testing.assert_allclose(cutter.inverse_transform(changed), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("stride", [1, 3, 4])
def test_patches_that_did_not_change_give_the_image_back(image, stride, center, normalize):
    cutter = OverlappingPatches(4, stride, center=center, normalize=normalize).fit(image)
    np.testing.assert_allclose(cutter.inverse_transform(cutter.transform(image)), image, rtol=0, atol=1e-14)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_places_are_strides_apart_and_flush_with_the_end(stride):
    grid = PatchGrid((13, 9, 1), (4, 3), stride)
    rows, columns = grid.corners
    assert set(np.diff(rows)[:-1]) <= {stride}
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (0, 9, 0, 6)
    assert grid.coverage().min() == 1


def test_one_sum_adds_every_patch_where_it_lies():
    grid = PatchGrid((11, 8, 2), (4, 3), 3)
    patches = np.random.default_rng(0).normal(size=(grid.n_patches, grid.n_features))
    expected, number = np.zeros(grid.image_shape), 0
    for row in grid.corners[0]:
        for column in grid.corners[1]:
            expected[row : row + 4, column : column + 3] += patches[number].reshape(4, 3, 2)
            number += 1
    total = np.zeros(grid.image_shape)
    grid.add_(total, patches, slice(0, grid.n_patches))
    np.testing.assert_allclose(total, expected, rtol=0, atol=1e-14)


def test_every_channel_of_a_centred_patch_has_mean_zero_and_a_normalised_patch_deviation_one(image):
    patches = OverlappingPatches(4, normalize=True).fit_transform(image)
    channels = patches.reshape(len(patches), 16, -1)
    np.testing.assert_allclose(channels.mean(axis=1), 0, atol=1e-14)
    np.testing.assert_allclose(patches.std(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("level", [0.1, 1e6])
def test_a_constant_patch_is_zero_and_not_blown_up(level):
    cutter = OverlappingPatches(4, normalize=True).fit(np.full((9, 9), level, np.float32))
    patches = cutter.transform(np.full((9, 9), level, np.float32))
    np.testing.assert_allclose(patches, 0, atol=1e-6 * level)


def test_a_pipeline_goes_from_an_image_to_codes_and_back(image):
    pipeline = make_pipeline(OverlappingPatches(4, normalize=True), PCA(16))
    codes = pipeline.fit_transform(image)
    assert codes.shape == (140, 16)
    direct = OverlappingPatches(4, normalize=True).fit(image)
    rows = direct.transform(image)
    pca = PCA(16).fit(rows)
    expected = direct.inverse_transform(pca.inverse_transform(pca.transform(rows)))
    np.testing.assert_allclose(pipeline.inverse_transform(codes), expected, atol=1e-10)


@pytest.mark.parametrize(("given", "kept"), [("float32", "float32"), ("float64", "float64"), ("uint8", "float32")])
def test_dtypes_are_kept_and_bytes_become_float32(given, kept):
    image = np.arange(100).reshape(10, 10).astype(given)
    cutter = OverlappingPatches(4).fit(image)
    assert cutter.transform(image).dtype == kept
    assert cutter.inverse_transform(cutter.transform(image)).dtype == kept


def test_the_way_back_holds_a_few_patches_at_a_time():
    image = np.random.default_rng(0).uniform(size=(300, 300)).astype(np.float32)
    cutter = OverlappingPatches(8).fit(image)
    patches = cutter.transform(image)
    tracemalloc.start()
    cutter.inverse_transform(patches)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # indices and weights of a band are each twice its float32 numbers; all patches at once would take 88 MB of each
    assert peak < 80e6, peak


@pytest.mark.parametrize(
    ("parameters", "image", "message"),
    [
        ({"patch_size": 9}, np.zeros((8, 20)), "8 x 20 pixels, fewer than a patch of 9 x 9"),
        ({"patch_size": 0}, np.zeros((8, 20)), "patch_size >= 1"),
        ({"stride": 0}, np.zeros((8, 20)), "stride"),
        ({"stride": 9}, np.zeros((20, 20)), "stride between 1 and 8"),
        ({}, np.zeros(8), r"one image of shape \(height, width\)"),
        ({}, np.full((9, 9), np.nan), "NaN or infinity"),
        ({}, np.zeros((9, 9), complex), "real numbers"),
    ],
)
def test_what_cannot_be_cut_is_refused(parameters, image, message):
    with pytest.raises(ValueError, match=message):
        OverlappingPatches(**parameters).fit(image)


def test_another_image_or_number_of_patches_is_refused(image):
    cutter = OverlappingPatches(4).fit(image)
    with pytest.raises(ValueError, match="was fitted on an image of shape"):
        cutter.transform(image[:-1])
    with pytest.raises(ValueError, match="expects all 140 patches"):
        cutter.inverse_transform(cutter.transform(image)[:-1])


def test_names_of_features_and_clones():
    cutter = OverlappingPatches((2, 3)).fit(np.zeros((4, 4)))
    assert list(cutter.get_feature_names_out())[-1] == "overlappingpatches5"
    assert clone(cutter).get_params() == cutter.get_params()
