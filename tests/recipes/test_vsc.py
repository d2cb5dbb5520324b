"""Settings of Fallah & Rozell (ICML 2022): section 4, appendices C and D."""

import pytest

from skvardict import SpikeAndSlabVSC, ThresholdedVSC, recipes
from skvardict.training import Position

METHODS = {  # base, threshold, prior of the threshold
    "thresholded_laplace": ("laplace", 0.25, None),
    "thresholded_laplace_gamma": ("laplace", 0.25, "gamma"),
    "thresholded_gaussian": ("gaussian", 0.52, None),
    "thresholded_gaussian_gamma": ("gaussian", 0.52, "gamma"),
    "laplace": ("laplace", 0, None),
    "gaussian": ("gaussian", 0, None),
}
ALL = [*METHODS, "spike_and_slab"]
STEPS_PER_EPOCH = 800  # 80,000 patches in batches of 100


def _at(schedule, *, step=0, epoch=0.0, n_epochs=300):
    return schedule(Position(step, epoch, n_epochs))


def test_these_are_all_methods():
    assert set(recipes.VSC_METHODS) == set(ALL)


@pytest.mark.parametrize("method", METHODS)
def test_posteriors_and_thresholds_are_those_of_the_paper(method):
    model = recipes.vsc(method)
    assert isinstance(model, ThresholdedVSC)
    assert (model.base, model.threshold, model.threshold_prior) == METHODS[method]
    assert (model.gradient, model.threshold_kl_weight) == ("straight_through", 0.001)  # a tenth of the other


@pytest.mark.parametrize("method", ALL)
def test_printed_weights_stand_beside_a_sum_of_256_squares(method):
    released, printed = (recipes.vsc(method, weights=weights) for weights in ("released", "printed"))
    assert released.get_params()["kl_weight"] == recipes.vsc(method).kl_weight == 0.01
    # |x - D(z)|^2 + .01 KL is 256 times the mean of squares + kl_weight KL.
    assert 256 * printed.kl_weight == 0.01
    if method != "spike_and_slab":
        assert (released.threshold_kl_weight, 256 * printed.threshold_kl_weight) == (0.001, 0.001)
    with pytest.raises(ValueError, match=r"no weights 'summed'\. Weights are released, printed"):
        recipes.vsc(method, weights="summed")


@pytest.mark.parametrize("method", ALL)
def test_sizes_and_budget(method):
    model = recipes.vsc(method)
    assert (model.n_components, model.batch_size, model.max_iter) == (256, 100, 300)
    assert (model.kl_weight, model.n_draws, model.early_stopping) == (0.01, 20, False)
    assert model.draw_reduction in ("auto", "max")
    assert recipes.vsc(method, n_draws=1, max_iter=2).get_params()["n_draws"] == 1


@pytest.mark.parametrize("method", ALL)
def test_rates_and_decay(method):
    sgd = recipes.vsc(method).optimizer
    assert (sgd.learning_rate, sgd.momentum, sgd.nesterov) == (1e-2, 0.9, True)
    assert (sgd.dictionary_learning_rate, sgd.dictionary_weight_decay) == (0.5, 1e-4)  # eta, kappa
    assert sgd.weight_decay == 0
    assert _at(sgd.dictionary_schedule, epoch=10) == pytest.approx(0.99**10)
    # Encoder: up over a twentieth of training, then half a cosine.
    rates = [_at(sgd.schedule, epoch=epoch) for epoch in (7.5, 15.0, 157.5, 299.999)]
    assert rates == pytest.approx([0.5, 1.0, 0.5, 0.0], abs=1e-6)


@pytest.mark.parametrize("method", ALL)
def test_noise_grows_for_all_but_gaussian_bases(method):
    warmup = recipes.vsc(method).warmup
    if METHODS.get(method, ("",))[0] == "gaussian":
        assert warmup == "auto"
        return
    values = [_at(warmup, epoch=step / STEPS_PER_EPOCH) for step in (0, 1500, 3750, 6000, 9000)]
    assert values == pytest.approx([0.1, 0.1, 0.55, 1, 1])


def test_the_gate_of_spike_and_slab_cools():
    model = recipes.vsc("spike_and_slab")
    assert isinstance(model, SpikeAndSlabVSC)
    assert model.activation_probability == 0.1
    values = [_at(model.temperature, epoch=step / STEPS_PER_EPOCH) for step in (0, 100, 10_000)]
    assert values == pytest.approx([1.0, 0.9995**100, 0.5])


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.03, 0.2, 0.77, 0.999])
@pytest.mark.parametrize("method", ALL)
def test_every_budget_has_schedules_of_one_shape(method, share):
    model = recipes.vsc(method)
    schedules = [model.optimizer.schedule, model.optimizer.dictionary_schedule, model.warmup]
    schedules += [model.temperature] if method == "spike_and_slab" else []
    for schedule in [schedule for schedule in schedules if schedule != "auto"]:
        of_the_paper = schedule(Position(int(share * 240_000), share * 300, 300))
        of_fifty_epochs = schedule(Position(int(share * 4000), share * 50, 50))
        assert of_fifty_epochs == pytest.approx(of_the_paper)


@pytest.mark.parametrize("method", ALL)
def test_convolutional_models(method):
    model = recipes.vsc_conv(method, "celeba", n_components=512, image_shape=(3, 64, 64), n_draws=10, kl_weight=1e-3)
    adam = model.optimizer
    assert (adam.learning_rate, adam.betas) == (3e-4, (0.5, 0.999))
    assert (adam.weight_decay, adam.encoder_weight_decay) == (1e-5, 1e-5)
    assert (model.batch_size, model.max_iter, model.n_components, model.n_draws) == (512, 300, 512, 10)
    assert (model.encoder.network, model.decoder.network) == ("celeba", "celeba")
    if isinstance(model, ThresholdedVSC):
        assert model.threshold_kl_weight == pytest.approx(1e-4)
        is_dense = method in ("laplace", "gaussian")
        assert model.threshold == (0 if is_dense else None)
    assert model.activation_probability == 0.1


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no method 'cauchy'.*thresholded_laplace, "):
        recipes.vsc("cauchy")
