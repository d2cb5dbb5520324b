"""Training in closed form, by the estimators: what is learnt, where it is refused, learnt noise, runs that go on."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from skvardict import SparseVAE, SpikeAndSlabVSC, ThresholdedVSC, load
from skvardict.datasets import make_sparse_coded_signals
from skvardict.networks import MLP, AffineDecoder, Conv
from skvardict.preprocessing import GlobalStandardizer
from skvardict.training import SGD, Adam, OnlineUpdate

QUICK = {"encoder": MLP((24,)), "max_iter": 4, "random_state": 0}
SPARSE = [
    ThresholdedVSC(20, **QUICK),
    ThresholdedVSC(20, base="gaussian", **QUICK),
    SpikeAndSlabVSC(20, **QUICK),
    SpikeAndSlabVSC(20, divergence="aggregate", **QUICK),
]
MODELS = [SparseVAE(20, **QUICK), *SPARSE]


def fresh(model, **changes):
    from sklearn.base import clone

    return clone(model).set_params(**changes)


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).standard_normal((150, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def signals():
    """Rows of a sparse model: 16 atoms of which two are on, with noise."""
    made = make_sparse_coded_signals(3000, n_features=16, n_components=16, n_nonzero=2, random_state=0)
    return made[0].astype(np.float32), made[-1]


# --- which way --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_linear_decoders_are_trained_in_closed_form(model, X):
    named = fresh(model, expectation="exact").fit(X)
    np.testing.assert_array_equal(fresh(model).fit(X).components_, named.components_)
    assert "noise_warmup" not in named.history_
    # Nothing is drawn: another number of draws leaves everything as it is.
    np.testing.assert_array_equal(fresh(model, n_draws=3).fit(X).components_, named.components_)


def test_what_has_no_closed_form_is_drawn(X):
    for model in (
        SparseVAE(20, prior="cauchy", **QUICK),
        ThresholdedVSC(20, threshold_prior="gamma", **QUICK),
        SpikeAndSlabVSC(20, decoder="mlp", **QUICK),
    ):
        drawn = fresh(model, expectation="draws").fit(X)
        fitted = fresh(model).fit(X)
        for name, array in drawn.params_.items():
            np.testing.assert_array_equal(fitted.params_[name], array, err_msg=name)


def build_linear(n_features, n_components):
    import torch

    return AffineDecoder(n_components, n_features, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (SparseVAE(prior="cauchy"), "needs a divergence in closed form, but there is none from the prior Cauchy"),
        (ThresholdedVSC(threshold_prior="gamma"), "needs .* none from the prior Thresholded.*Use expectation='draws'"),
        (SpikeAndSlabVSC(decoder="mlp"), "needs a linear decoder, but the decoder is of MLPDecoder.*decoder='linear'"),
        (ThresholdedVSC(decoder=Conv((4, 4), network="conv")), "needs a linear decoder"),
    ],
)
def test_a_closed_form_that_does_not_exist_is_refused(model, words, X):
    with pytest.raises(ValueError, match=f"{type(model).__name__}: expectation='exact' {words}"):
        model.set_params(expectation="exact", max_iter=1).fit(X)


def test_aggregates_need_the_closed_form(X):
    for changes in ({"expectation": "draws"}, {"decoder": "mlp"}):
        with pytest.raises(ValueError, match="SpikeAndSlabVSC: divergence='aggregate' needs expectation='exact'"):
            SpikeAndSlabVSC(20, divergence="aggregate", **QUICK, **changes).fit(X)


def test_linear_decoders_of_a_builder_may_be_asked_for(X):
    model = SpikeAndSlabVSC(20, decoder=build_linear, **QUICK)
    assert "noise_warmup" in fresh(model).fit(X).history_
    assert "noise_warmup" not in fresh(model, expectation="exact").fit(X).history_


# --- what is learnt ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        SpikeAndSlabVSC(16, kl_weight=0.003, activation_probability=0.125, prior_scale=1.0),
        SpikeAndSlabVSC(16, kl_weight=0.003, activation_probability=0.125, prior_scale=1.0, divergence="aggregate"),
        ThresholdedVSC(16, kl_weight=0.003, activation_probability=0.125, prior_scale=1.0),
        SpikeAndSlabVSC(16, kl_weight="auto", activation_probability=0.125, prior_scale=1.0),
        SpikeAndSlabVSC(16, kl_weight=0.003, activation_probability=0.125, prior_scale=1.0, optimizer=OnlineUpdate()),
    ],
    ids=["spike and slab", "aggregate", "thresholded", "learnt noise", "online"],
)
def test_the_atoms_and_the_supports_of_a_sparse_model_are_found(model, signals):
    X, atoms = signals
    fit = fresh(model, encoder=MLP((128,)), max_iter=40, random_state=0).fit(X)
    norms = np.linalg.norm(fit.components_, axis=1, keepdims=True)
    cosine = np.abs(fit.components_ / norms @ (atoms / np.linalg.norm(atoms, axis=1, keepdims=True)).T)
    assert np.median(cosine.max(0)) > 0.9
    codes = fit.set_params(transform_algorithm="support").transform(X)
    assert 1 < (codes != 0).sum(1).mean() < 4
    assert fit.score(X) > 0.7
    on = fit.posterior_params(X)["activation_probability"]
    assert np.mean((on < 0.2) | (on > 0.8)) > 0.75  # rows say which atoms they have


def test_support_keeps_the_means_of_what_is_rather_on_than_off(X):
    fit = SpikeAndSlabVSC(20, encoder=MLP((64,)), max_iter=60, kl_weight=1e-3, random_state=0).fit(X)
    params = fit.posterior_params(X)
    codes = fit.set_params(transform_algorithm="support").transform(X)
    on = params["activation_probability"] > 0.5
    assert 0 < on.mean() < 1
    np.testing.assert_array_equal(codes, np.where(on, params["mean"], 0))


def test_refined_codes_explain_more_with_as_many_atoms(signals):
    X, _ = signals
    fit = SpikeAndSlabVSC(16, encoder=MLP((32,)), kl_weight=0.003, prior_scale=1.0, max_iter=30, random_state=0).fit(X)
    scores, shares = {}, {}
    for algorithm in ("support", "refine"):
        fit.set_params(transform_algorithm=algorithm)
        scores[algorithm], shares[algorithm] = fit.score(X), (fit.transform(X) != 0).mean()
    assert scores["refine"] > scores["support"] + 0.03
    assert abs(shares["refine"] - 2 / 16) < abs(shares["support"] - 2 / 16)  # two of the atoms made each row
    with pytest.raises(ValueError, match="'transform_algorithm' parameter of ThresholdedVSC"):
        ThresholdedVSC(16, transform_algorithm="refine").fit(X)
    with pytest.raises(ValueError, match="'refine' needs a spike-and-slab prior and decoder='linear'"):
        SpikeAndSlabVSC(16, transform_algorithm="refine", decoder="mlp").fit(X)


def test_gates_of_thresholded_models_have_thresholds_of_their_own(X):
    fit = ThresholdedVSC(20, encoder=MLP((64,)), max_iter=60, kl_weight=1e-3, random_state=0).fit(X)
    params = fit.posterior_params(X)
    on = np.exp(-params["threshold"] / params["scale"])
    np.testing.assert_allclose(params["activation_probability"], on, rtol=1e-5)
    assert params["threshold"].std() > 0.1 * fit.threshold_
    draws = fit.sample_codes(X, 2000, random_state=0)
    assert np.abs((draws != 0).mean(0) - on).max() < 5 * 0.5 / 2000**0.5
    assert (fit.iwae(X, 50, random_state=0) > fit.elbo(X, 50, random_state=0)).mean() > 0.9


# --- learnt noise -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("expectation", ["exact", "draws"])
def test_the_learnt_weight_is_that_of_the_error(expectation, signals):
    X, _ = signals
    model = SpikeAndSlabVSC(
        16, kl_weight="auto", expectation=expectation, draw_reduction="mean", n_draws=2, max_iter=30
    )
    fit = fresh(model, random_state=0, encoder=MLP((64,)), transform_algorithm="mean").fit(X)
    weights, errors = fit.history_["kl_weight"], fit.history_["reconstruction"]
    assert weights[0] > weights[-1] == fit.kl_weight_
    np.testing.assert_allclose(fit.kl_weight_, 2 * errors[-1] / 16, rtol=0.1)
    assert np.isfinite(fit.elbo(X[:5], random_state=0)).all()
    # Of the bounds at other weights, for the same codes, this one's is the largest.
    bounds = [bound_at(fit, weight, X) for weight in (0.6 * fit.kl_weight_, fit.kl_weight_, 1.6 * fit.kl_weight_)]
    assert np.argmax(bounds) == 1


def bound_at(fit, weight, X):
    """Return the mean bound of the fitted posterior under a likelihood of another variance."""
    other = fresh(fit, kl_weight=weight)
    other.fit(X[:40])
    other.params_ = {name: array for name, array in fit.params_.items() if not name.startswith("noise")}
    return float(np.mean(other.elbo(X, 20, random_state=0)))


def test_a_learnt_weight_is_saved_and_used(X, tmp_path):
    fit = SpikeAndSlabVSC(20, kl_weight="auto", **QUICK).fit(X)
    fit.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.kl_weight_ == fit.kl_weight_ > 0
    np.testing.assert_array_equal(loaded.transform(X), fit.transform(X))
    assert SpikeAndSlabVSC(20, kl_weight=0.5, **QUICK).fit(X).kl_weight_ == 0.5
    with pytest.raises(AttributeError, match="no kl_weight_ before fit"):
        SpikeAndSlabVSC().kl_weight_


def test_without_a_weight_the_noise_is_a_tenth(X):
    none, given = (SparseVAE(20, kl_weight=weight, **QUICK).fit(X) for weight in (None, 0.2 / X.shape[1]))
    assert none.kl_weight_ == given.kl_weight_ == 0.2 / X.shape[1]
    np.testing.assert_array_equal(none.transform(X), given.transform(X))
    assert (SparseVAE().kl_weight, ThresholdedVSC().kl_weight, SpikeAndSlabVSC().kl_weight) == (None, "auto", "auto")


def test_codes_of_the_defaults_tell_more_than_the_pixels_with_few_labels():
    X, y = load_digits(return_X_y=True)
    X = GlobalStandardizer().fit_transform(X).astype(np.float32)
    codes = SparseVAE(64, random_state=0).fit(X[:900]).transform(X)
    few = [np.random.default_rng(seed).permutation(900)[:50] for seed in range(10)]

    def mean_accuracy(rows):
        classifier = LogisticRegression(max_iter=2000)
        scaled = rows / rows.std()
        return np.mean([classifier.fit(scaled[some], y[some]).score(scaled[900:], y[900:]) for some in few])

    assert mean_accuracy(codes) > mean_accuracy(X) + 0.01


@pytest.mark.parametrize("model", [ThresholdedVSC, SpikeAndSlabVSC])
def test_a_decoder_with_a_hidden_layer_learns_by_default(model):
    X = GlobalStandardizer().fit_transform(load_digits().data[:1000]).astype(np.float32)
    fit = model(32, decoder=MLP((64,)), encoder=MLP((64,)), n_draws=5, max_iter=40, random_state=0).fit(X)
    assert fit.score(X) > 0.15  # measured .22 and .37; by the rates of dictionaries -.05 and .02


# --- runs that go on --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [Adam(1e-3), SGD(1e-2, dictionary_learning_rate=0.5), OnlineUpdate()])
@pytest.mark.parametrize("weight", [0.01, "auto"])
def test_a_resumed_fit_is_bitwise_the_same(weight, optimizer, X, tmp_path):
    model = SpikeAndSlabVSC(20, kl_weight=weight, optimizer=optimizer, **QUICK)
    whole = fresh(model).fit(X)
    fresh(model, max_iter=2).fit(X, checkpoint=tmp_path / "run")
    resumed = fresh(model).fit(X, checkpoint=tmp_path / "run")
    assert resumed.resumed_epoch_ == 2
    for name, array in whole.params_.items():
        np.testing.assert_array_equal(resumed.params_[name], array, err_msg=name)


@pytest.mark.parametrize("model", MODELS)
def test_streams_and_single_passes_learn_too(model, X):
    chunks = [X[:50], X[50:120], X[120:]]
    fit = fresh(model, kl_weight=1e-3, max_iter=30).fit_stream(chunks)
    assert fit.history_["energy"][-1] < fit.history_["energy"][0]
    before = fit.n_steps_
    assert fit.partial_fit(X).n_steps_ > before


def test_draws_give_no_statistics(X):
    with pytest.raises(ValueError, match="works from statistics of codes, but this model gives none"):
        SpikeAndSlabVSC(20, expectation="draws", optimizer=OnlineUpdate(), **QUICK).fit(X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.filterwarnings("ignore:.*components were never active:UserWarning")
def test_extreme_gates_and_scales_stay_finite(model, dtype, X):
    """Nearly without a divergence gates close and open for good."""
    fit = fresh(model, kl_weight=1e-8, max_iter=100, optimizer=Adam(3e-2), prior_scale=10.0).fit((3 * X).astype(dtype))
    assert np.isfinite(fit.history_["energy"]).all()
    assert all(np.isfinite(values).all() for values in fit.posterior_params((3 * X).astype(dtype)).values())
