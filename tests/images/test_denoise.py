import tracemalloc

import numpy as np
import pytest
from scipy.stats import chi2
from sklearn.decomposition import PCA, MiniBatchDictionaryLearning
from sklearn.linear_model import orthogonal_mp

from skvardict import SparseVAE, StandardDictionaryLearning, VarianceDictionaryLearning, WeightDecayDictionaryLearning
from skvardict.images import denoise_image
from skvardict.networks import MLP
from skvardict.preprocessing import OverlappingPatches

SIGMA = 0.2


@pytest.fixture(scope="module")
def clean():
    image = np.zeros((30, 32))
    image[8:20, 6:18] = 1.0
    return image + np.linspace(0, 1, 32)


@pytest.fixture(scope="module")
def noisy(clean):
    return clean + SIGMA * np.random.default_rng(0).normal(size=clean.shape)


def _error(image, clean):
    return np.sqrt(np.mean((image - clean) ** 2))


def _quick(estimator=StandardDictionaryLearning, **parameters):
    return estimator(**{"n_components": 16, "max_iter": 10, "random_state": 0, **parameters})


def test_noise_is_taken_out_better_than_by_the_mean_of_each_patch_alone(noisy, clean):
    denoised = denoise_image(noisy, sigma=SIGMA, patch_size=5, random_state=0)
    constant = PCA(1).fit(np.eye(25))
    constant.components_ = np.zeros((1, 25))
    means = denoise_image(noisy, constant, sigma=SIGMA, patch_size=5)
    assert _error(denoised, clean) < 0.5 * SIGMA
    assert _error(denoised, clean) < 0.8 * _error(means, clean)


@pytest.mark.parametrize("shape", [(14, 15), (14, 15, 3)])
@pytest.mark.parametrize("stride", [1, 3])
def test_the_result_is_the_average_of_pursued_patches(shape, stride):
    noisy = np.random.default_rng(1).normal(size=shape)
    cutter = OverlappingPatches(4, stride).fit(noisy)
    rows = cutter.transform(noisy)
    coder = PCA(8, random_state=0).fit(rows)
    n_free = rows.shape[1] - (3 if len(shape) == 3 else 1)
    tolerance = 0.6**2 * chi2.ppf(0.93, n_free)
    codes = orthogonal_mp(coder.components_.T, rows.T, tol=tolerance).T
    codes[np.square(rows).sum(axis=1) <= tolerance] = 0  # scikit-learn takes one atom at least
    expected = cutter.inverse_transform(codes @ coder.components_)
    denoised = denoise_image(noisy, coder, sigma=0.6, patch_size=4, stride=stride)
    np.testing.assert_allclose(denoised, expected, rtol=0, atol=1e-10)


def test_a_blend_is_the_average_with_the_noisy_pixel(noisy):
    coder = PCA(5).fit(OverlappingPatches(4).fit_transform(noisy))
    plain, blended = (denoise_image(noisy, coder, sigma=SIGMA, patch_size=4, stride=4, blend=b) for b in (0.0, 3.0))
    # In the corner a pixel lies on one patch.
    np.testing.assert_allclose(blended[0, 0], (plain[0, 0] + 3 * noisy[0, 0]) / 4, rtol=1e-12)


@pytest.mark.parametrize(
    "estimator",
    [
        _quick(VarianceDictionaryLearning),
        _quick(StandardDictionaryLearning),
        _quick(WeightDecayDictionaryLearning, encoder=None),
        _quick(SparseVAE, encoder=MLP((16,))),
        MiniBatchDictionaryLearning(16, max_iter=5, random_state=0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_atoms_of_any_linear_dictionary_take_noise_out(estimator, noisy, clean):
    denoised, fitted = denoise_image(noisy, estimator, sigma=SIGMA, patch_size=5, return_estimator=True, random_state=0)
    assert _error(denoised, clean) < 0.6 * SIGMA
    assert not hasattr(estimator, "n_features_in_")
    assert fitted.n_features_in_ == 25


def test_a_fitted_estimator_is_used_as_it_is(noisy):
    rows = OverlappingPatches(5).fit_transform(noisy)
    fitted = _quick(encoder=None).fit(rows / np.sqrt(np.mean(rows**2)))
    first, same = denoise_image(noisy, fitted, sigma=SIGMA, patch_size=5, return_estimator=True, random_state=0)
    assert same is fitted
    again = denoise_image(noisy, fitted, sigma=SIGMA, patch_size=5, random_state=1)
    np.testing.assert_array_equal(first, again)


def test_codes_of_the_estimator_itself(noisy):
    cutter = OverlappingPatches(5).fit(noisy)
    rows = cutter.transform(noisy)
    scale = np.sqrt(np.mean(rows**2))
    fitted = _quick(decoder=MLP((8,))).fit(rows / scale)
    expected = cutter.inverse_transform(fitted.reconstruct(rows / scale) * scale)
    denoised = denoise_image(noisy, fitted, sigma=SIGMA, patch_size=5, coding="estimator")
    np.testing.assert_allclose(denoised, expected, atol=1e-5)
    with pytest.raises(ValueError, match="no linear dictionary to pursue atoms of"):
        denoise_image(noisy, fitted, sigma=SIGMA, patch_size=5)


def test_units_do_not_matter(noisy):
    results = [
        denoise_image(scale * noisy, sigma=scale * SIGMA, patch_size=4, random_state=0) / scale
        for scale in (1.0, 255.0)
    ]
    np.testing.assert_allclose(*results, atol=1e-6)


def test_the_seed_decides_which_patches_are_learnt_from_and_what_the_default_learns(noisy):
    for estimator, most in ((_quick(encoder=None), 300), (None, 600)):
        first, again, other = (
            denoise_image(noisy, estimator, sigma=SIGMA, patch_size=4, max_patches=most, random_state=seed)
            for seed in (0, 0, 1)
        )
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


def test_a_constant_image_and_no_noise_stay_as_they_are(clean):
    constant = np.full((12, 12), 7.0)
    full = PCA(24).fit(OverlappingPatches(5).fit_transform(clean))
    np.testing.assert_allclose(denoise_image(constant, full, sigma=0.1, patch_size=5), constant, atol=1e-12)
    denoised = denoise_image(clean, full, sigma=0.0, patch_size=5)
    assert _error(denoised, clean) < 0.05


@pytest.mark.parametrize(("given", "kept"), [("float32", "float32"), ("float64", "float64"), ("uint8", "float32")])
def test_dtypes_are_kept_and_bytes_become_float32(given, kept):
    image = np.random.default_rng(0).integers(0, 255, (12, 12)).astype(given)
    assert denoise_image(image, PCA(4).fit(np.eye(16)), sigma=20.0, patch_size=4).dtype == kept


def test_memory_is_that_of_some_patches_not_of_all():
    image = np.random.default_rng(0).uniform(size=(500, 500)).astype(np.float32)
    few = PCA(4).fit(OverlappingPatches(8).fit_transform(image[:30, :30]))
    tracemalloc.start()
    denoise_image(image, few, sigma=0.3, max_patches=100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 120e6, peak  # all 243,049 patches of 64 numbers with their places in the image are 187 MB in float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sigma": -1}, "sigma to be a finite number"),
        ({"sigma": None}, "sigma to be a finite number"),
        ({"sigma": 1, "blend": -1}, "blend to be a finite number"),
        ({"sigma": 1, "coding": "lasso"}, "coding to be one of"),
        ({"sigma": 1, "stride": 9}, "stride between 1 and 8"),
        ({"sigma": 1, "patch_size": 40}, "30 x 32 pixels, fewer than a patch of 40 x 40"),
        ({"sigma": 1, "max_patches": 0}, "max_patches must be an integer of at least 1"),
        ({"sigma": 1, "estimator": PCA(4).fit(np.eye(9))}, "fitted on 9 features, but a patch has 64"),
    ],
)
def test_what_cannot_be_done_is_refused(noisy, arguments, message):
    with pytest.raises(ValueError, match=message):
        denoise_image(noisy, **arguments)
