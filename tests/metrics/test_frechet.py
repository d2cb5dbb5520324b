import sys

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import sqrtm

from skvardict.metrics import frechet_distance, inception_features


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return rng.normal(size=(80, 5)) @ rng.normal(size=(5, 5)), 1 + rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5))


def test_the_distance_is_the_written_formula(pair):
    X, Y = pair
    C, D = np.cov(X.T), np.cov(Y.T)
    expected = ((X.mean(0) - Y.mean(0)) ** 2).sum() + np.trace(C + D - 2 * sqrtm(C @ D).real)
    assert frechet_distance(X, Y) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(Y, X) == pytest.approx(expected, rel=1e-10)


def test_equal_rows_are_at_no_distance_even_where_covariances_are_singular(pair):
    X, _ = pair
    wide = np.hstack([X, X])
    assert frechet_distance(wide, wide) == pytest.approx(0, abs=1e-6)  # roots of rounding errors


@pytest.mark.parametrize("rows", [(3, 60), (60, 4), (3, 4)])
def test_fewer_rows_than_features_are_the_same_formula(pair, rows):
    X, Y = pair[0][: rows[0]], pair[1][: rows[1]]
    C, D = np.cov(X.T), np.cov(Y.T)
    # singular covariances: the eigenvalues of their product instead of a matrix root
    roots = np.sqrt(np.linalg.eigvals(C @ D).real.clip(0)).sum()
    expected = ((X.mean(0) - Y.mean(0)) ** 2).sum() + np.trace(C) + np.trace(D) - 2 * roots
    assert frechet_distance(X, Y) == pytest.approx(expected, rel=1e-6)  # roots of rounding errors


def test_one_dimension_has_the_closed_form():
    x = np.array([[-1.0], [1.0]])
    scaled = 3 * x + 5
    assert frechet_distance(x, scaled) == pytest.approx(25 + (np.sqrt(18) - np.sqrt(2)) ** 2)


def test_the_extractor_sees_batches_and_its_features_count(pair):
    X, Y = pair
    sizes = []

    def double(rows):
        sizes.append(len(rows))
        return torch.as_tensor(rows) * 2

    assert frechet_distance(X, Y, feature_extractor=double, batch_size=50) == pytest.approx(4 * frechet_distance(X, Y))
    assert sizes == [50, 30, 50, 10]


def test_unfit_input_is_named(pair):
    X, Y = pair
    with pytest.raises(ValueError, match="equal features, but got 5 and 4"):
        frechet_distance(X, Y[:, :4])
    with pytest.raises(ValueError, match="Y has 1"):
        frechet_distance(X, Y[:1])


def test_a_missing_torchmetrics_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", None)
    with pytest.raises(ImportError, match=r"pip install skvardict\[metrics\]"):
        inception_features((28, 28))


def test_inception_sees_byte_images_of_three_channels(monkeypatch):
    seen = []

    class Inception:
        def to(self, device):
            return self

        def eval(self):
            return self

        def __call__(self, images):
            seen.append(images)
            return images.flatten(1).float()

    module = type(sys)("fid")
    module.FrechetInceptionDistance = lambda feature: type("Metric", (), {"inception": Inception()})()
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", module)
    extract = inception_features((4, 5))
    rows = np.random.default_rng(0).uniform(size=(3, 20)).astype(np.float32)
    extract(rows)
    assert seen[0].dtype == torch.uint8
    assert seen[0].shape == (3, 3, 4, 5)
    np.testing.assert_array_equal(seen[0][:, 2].reshape(3, 20), np.round(rows * 255))
    with pytest.raises(ValueError, match=r"image_shape=\(4, 5\), 20 pixels, but the rows have 3"):
        extract(np.zeros((1, 3)))


def test_features_are_extracted_from_frames_and_lists_of_rows(pair):
    def extract(rows):
        return rows * 2

    X, Y = pair
    expected = frechet_distance(2 * X, 2 * Y)
    for convert in (pd.DataFrame, torch.from_numpy, np.ndarray.tolist):
        found = frechet_distance(convert(X), convert(Y), feature_extractor=extract, batch_size=25)
        assert found == pytest.approx(expected, rel=1e-10)
    with pytest.raises(ValueError, match="at least two rows, but X has none"):
        frechet_distance(X[:0], Y, feature_extractor=extract)
