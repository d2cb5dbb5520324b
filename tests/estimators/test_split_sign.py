"""Codes with positive and negative parts side by side, as scikit-learn's sparse coders give them."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import SparseCoder

from skvardict import SparseVAE, StandardDictionaryLearning, VarianceDictionaryLearning
from skvardict.display import DictionaryDisplay
from skvardict.networks import MLP

pytestmark = pytest.mark.filterwarnings("ignore:.*solver did not converge:sklearn.exceptions.ConvergenceWarning")
X = np.random.default_rng(0).standard_normal((50, 8))
MAKERS = {
    "solver": lambda: StandardDictionaryLearning(5, encoder=None, positive_code=False, max_iter=3, random_state=0),
    "encoder": lambda: VarianceDictionaryLearning(5, positive_code=False, max_iter=3, random_state=0),
    "posterior": lambda: SparseVAE(5, encoder=MLP((8,)), max_iter=2, random_state=0),
}


@pytest.fixture(scope="module", params=MAKERS.values(), ids=MAKERS)
def fitted(request):
    return request.param().fit(X)


def test_both_parts_are_there_and_come_back(fitted):
    codes, rebuilt = fitted.transform(X), fitted.reconstruct(X)
    fitted.set_params(split_sign=True)
    split = fitted.transform(X)
    fitted.set_params(split_sign=False)
    assert (codes < 0).any()
    assert (codes > 0).any()
    np.testing.assert_array_equal(split, np.hstack([np.maximum(codes, 0), -np.minimum(codes, 0)]))
    fitted.set_params(split_sign=True)
    np.testing.assert_array_equal(fitted.inverse_transform(split), rebuilt)
    np.testing.assert_array_equal(fitted.reconstruct(X), rebuilt)
    np.testing.assert_array_equal(fitted.encode(X).codes, split)
    assert fitted.transform(torch.from_numpy(X)).shape == (50, 10)
    out = np.empty((50, 10))
    assert fitted.transform(X, out=out) is out
    np.testing.assert_array_equal(out, split)
    with pytest.raises(ValueError, match=r"codes of shape \(n_samples, 10\), but got \(50, 5\)"):
        fitted.inverse_transform(codes)
    fitted.set_params(split_sign=False)


def test_the_order_is_that_of_scikit_learn():
    atoms = np.random.default_rng(1).standard_normal((5, 8))
    theirs = SparseCoder(atoms, transform_algorithm="threshold", transform_alpha=0.1)
    plain = theirs.transform(X)
    split = theirs.set_params(split_sign=True).transform(X)
    np.testing.assert_array_equal(split, np.hstack([np.maximum(plain, 0), -np.minimum(plain, 0)]))


def test_names_count_both_halves(fitted):
    assert len(fitted.get_feature_names_out()) == 5
    names = fitted.set_params(split_sign=True).get_feature_names_out()
    assert len(names) == len(set(names)) == 10
    frame = fitted.set_output(transform="pandas").transform(X)
    fitted.set_output(transform="default").set_params(split_sign=False)
    assert list(frame.columns) == list(names)


def test_energy_score_and_generation_do_not_depend_on_it():
    coder = MAKERS["encoder"]().fit(X)
    energy, score = coder.energy(X), coder.score(X)
    coder.set_params(split_sign=True)
    assert (coder.energy(X), coder.score(X)) == (energy, score)
    vae = MAKERS["posterior"]().fit(X)
    drawn = vae.sample(4, random_state=0)
    np.testing.assert_array_equal(vae.set_params(split_sign=True).sample(4, random_state=0), drawn)


def test_the_response_of_a_decoder_is_shown_all_the_same():
    coder = StandardDictionaryLearning(5, decoder=MLP((6,)), positive_code=False, max_iter=1, random_state=0).fit(X)

    def shown():
        return DictionaryDisplay.from_estimator(coder, response="decoder", image_shape=(2, 4)).tiles

    expected = shown()
    coder.set_params(split_sign=True)
    np.testing.assert_array_equal(shown(), expected)
