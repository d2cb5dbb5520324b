"""Settings of Jiang & de la Iglesia (2021)."""

import pytest

from skvardict import recipes


def test_the_two_models_differ_in_the_norm_only():
    free, unit = (recipes.svae(name).get_params() for name in ("SVAE", "SVAE-Norm"))
    assert (free.pop("atom_norm"), unit.pop("atom_norm")) == (None, 1.0)
    assert {name: repr(value) for name, value in free.items()} == {name: repr(value) for name, value in unit.items()}


def test_settings_are_those_of_the_paper():
    model = recipes.svae("SVAE-Norm")
    assert (model.n_components, model.prior, model.prior_scale) == (450, "laplace", 0.1)
    assert (model.encoder, model.early_stopping) == ("resnet", False)
    assert (model.optimizer.learning_rate, model.batch_size) == (1e-3, 128)  # of the measurement: not in the paper


def test_the_weight_of_the_divergence_belongs_to_the_sum_of_squares():
    assert recipes.svae("SVAE").kl_weight == pytest.approx(0.02 / 256)
    assert recipes.svae("SVAE", kl_weight_sum=0.1, n_features=784).kl_weight == pytest.approx(0.1 / 784)


def test_parameters_can_be_replaced():
    assert recipes.svae("SVAE", n_components=12, max_iter=1).n_components == 12


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match="knows 'SVAE' and 'SVAE-Norm'"):
        recipes.svae("VAE")
