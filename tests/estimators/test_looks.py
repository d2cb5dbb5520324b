"""What is said about rows: scale, column means, units of columns, targets, small batches, codes of encoders."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

from skvardict import (
    SparseVAE,
    SpikeAndSlabVSC,
    StandardDictionaryLearning,
    VarianceDictionaryLearning,
    WeightDecayDictionaryLearning,
)
from skvardict.model_selection import BatchedGridSearchCV
from skvardict.preprocessing import GlobalStandardizer
from skvardict.training import Adam

X = np.random.default_rng(0).standard_normal((300, 8))
OFFSET = 1.9 + 0.6 * X


def said(call):
    """Return what is said in a call, but for the ends of fits that are too short on purpose."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [text for text in (str(warning.message) for warning in caught) if "under-trained" not in text]


def coder(kind=StandardDictionaryLearning, **settings):
    return kind(4, max_iter=1, random_state=0, **settings)


def standardized_digits():
    return GlobalStandardizer().fit_transform(load_digits().data)


@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
def test_columns_of_their_own_units_are_to_be_standardised_one_by_one(load):
    (text,) = said(lambda: coder().fit(load().data))
    assert "Columns have scales of their own: standardise each, e.g. with sklearn.preprocessing.StandardScaler." in text
    assert not said(lambda: coder().fit(StandardScaler().fit_transform(load().data)))


@pytest.mark.parametrize("rows", [load_digits().data, 30 * X, 0.01 * X], ids=["images", "large", "small"])
def test_columns_of_one_unit_keep_their_proportions(rows):
    (text,) = said(lambda: coder().fit(rows))
    assert "Standardise X, e.g. with skvardict.preprocessing.GlobalStandardizer." in text
    assert not said(lambda: coder().fit(GlobalStandardizer().fit_transform(rows)))


@pytest.mark.parametrize("kind", [StandardDictionaryLearning, WeightDecayDictionaryLearning])
def test_models_without_deviations_do_not_speak_of_them(kind):
    (text,) = said(lambda: coder(kind).fit(30 * X))
    assert "std_threshold" not in text
    with pytest.raises(ValueError, match="at least 2 rows") as raised:
        coder(kind).fit(X[:1])
    assert "deviation" not in str(raised.value)


@pytest.mark.parametrize("kind", [StandardDictionaryLearning, VarianceDictionaryLearning, SparseVAE])
def test_column_means_that_dominate_are_said_with_the_remedy(kind):
    (text,) = said(lambda: coder(kind, decoder="linear").fit(OFFSET))
    assert "the column means make up 91 % of the mean square of X" in text
    centred = StandardScaler(with_std=False).fit_transform(OFFSET)
    assert not said(lambda: coder(kind, decoder="linear").fit(centred))


def test_column_means_are_left_to_models_that_have_a_place_for_them():
    assert not said(lambda: coder(positive_dict=True).fit(OFFSET))
    assert not said(lambda: coder(SpikeAndSlabVSC).fit(OFFSET))
    assert not said(lambda: coder(decoder="mlp").fit(OFFSET))
    assert not said(lambda: coder().fit(load_digits().data / 16))


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_scales_whose_squares_are_beyond_single_precision_are_said(scale):
    fitted = coder().fit(X)
    (text,) = said(lambda: fitted.transform((scale * X).astype(np.float32)))
    assert f"the mean square of X is {float(np.mean((scale * X) ** 2)):.3g}"[:30] in text


@pytest.mark.parametrize("method", ["transform", "encode", "reconstruct", "score", "energy", "reconstruction_error"])
def test_a_fitted_model_says_once_that_rows_have_another_scale(method):
    fitted = coder().fit(X)
    assert not said(lambda: getattr(fitted, method)(X))
    (text,) = said(lambda: [getattr(fitted, method)(50 * X) for _ in range(3)])
    assert "the mean square of X is 2.5" in text
    fitted.fit(X)
    assert len(said(lambda: fitted.transform(50 * X))) == 1  # of the new model anew


def test_what_fit_said_is_not_said_again():
    fitted = coder()
    assert len(said(lambda: fitted.fit(50 * X))) == 1
    assert not said(lambda: fitted.transform(50 * X))


def test_single_rows_differ_and_only_what_is_far_is_said():
    fitted = coder().fit(X)
    assert not said(lambda: [fitted.transform(row[None]) for row in (3 * X[0], 0 * X[0], 0.1 * X[0])])
    assert len(said(lambda: [fitted.transform(1e-9 * X[:1]) for _ in range(3)])) == 1


@pytest.mark.parametrize(("n_rows", "text"), [(1, "one row has none"), (3, "those of 3 rows say little")])
def test_streams_of_few_rows_hear_once_why_the_hinge_needs_more(n_rows, text):
    fitted = VarianceDictionaryLearning(4, random_state=0)
    heard = said(lambda: [fitted.partial_fit(rows) for rows in X[: 12 * n_rows].reshape(12, n_rows, 8)])
    assert sum(text in line and "beta=10" in line for line in heard) == 1
    assert len(heard) == len({line[:60] for line in heard})  # nothing twice


def test_streams_without_a_hinge_or_of_larger_batches_hear_nothing_of_it():
    for fitted, rows in (
        (StandardDictionaryLearning(4, random_state=0), X[:1]),
        (VarianceDictionaryLearning(4, beta=0.0, random_state=0), X[:1]),
        (VarianceDictionaryLearning(4, random_state=0), X[:32]),
    ):
        assert not any("hinge" in text for text in said(lambda fitted=fitted, rows=rows: fitted.partial_fit(rows)))


def test_a_target_that_is_not_learnt_is_said():
    noisy = X + 0.1
    (text,) = said(lambda: coder().fit(noisy, X))
    assert "fit does not learn y" in text
    assert "score(X, y)" in text
    for y in (None, np.arange(300), np.eye(300)[:, :3], noisy):  # labels, and an autoencoder's habit
        assert not said(lambda y=y: coder().fit(noisy, y))


@pytest.mark.parametrize("search", [GridSearchCV, BatchedGridSearchCV])
def test_searches_score_by_targets_without_a_word(search):
    heard = said(lambda: search(coder(), {"alpha": [0.001, 0.01]}, cv=2).fit(X + 0.1, X))
    assert not any("does not learn y" in text for text in heard)


def badly_predicted(**settings):
    optimizer = Adam(1e-2, encoder_learning_rate=1e-5)
    return StandardDictionaryLearning(64, alpha=0.02, optimizer=optimizer, max_iter=40, random_state=0, **settings)


def test_an_encoder_far_behind_the_solver_is_said_with_both_numbers():
    rows = standardized_digits()[:300]
    fitted = badly_predicted(batch_size=60)
    (text,) = [text for text in said(lambda: fitted.fit(rows)) if "codes of the encoder" in text]
    assert "Set transform_algorithm='solver'" in text
    of_encoder, of_solver = fitted.score(rows), fitted.set_params(transform_algorithm="solver").score(rows)
    assert f"R^2 of {of_encoder:.2f}, those of the solver with {of_solver:.2f}"[:11] in text
    assert of_solver - of_encoder > 0.1


def test_an_encoder_that_is_not_used_or_keeps_up_is_not_spoken_of():
    rows = standardized_digits()[:300]
    for fitted in (
        badly_predicted(batch_size=60, transform_algorithm="solver"),
        VarianceDictionaryLearning(12, random_state=0),
        StandardDictionaryLearning(12, encoder=None, random_state=0),
    ):
        assert not any("codes of the encoder" in text for text in said(lambda fitted=fitted: fitted.fit(rows)))


def test_a_collapse_names_what_the_encoder_still_gives():
    rows = StandardScaler().fit_transform(load_wine().data)
    fitted = VarianceDictionaryLearning(12, alpha=10.0, random_state=0)
    (text,) = [text for text in said(lambda: fitted.fit(rows)) if "collapsed" in text]
    n_used = 12 - fitted.n_dead_encoder_
    assert fitted.n_dead_ == 12
    assert (f"what transform returns in {n_used} of them" in text) == (n_used > 0)
