"""Every cell of Table 3 of Evtimova & LeCun, typed a second time from the paper's notes."""

import pytest

from skvardict import recipes
from skvardict.networks import MLP

COLUMNS = ("epochs", "alphas", "gamma", "beta", "floor", "rate", "encoder_rate", "bias_decay", "encoder_bias_decay")
COLUMNS += ("step", "is_halved")
ROWS = {
    ("SDL", "mnist"): (200, "0 1e-4 5e-4 1e-3 3e-3 5e-3", 1, 0, None, 1e-3, 3e-4, None, 0, 1, False),
    ("VDL", "mnist"): (200, "0 1e-3 3e-3 5e-3 1e-2 2e-2", 5, 10, 0.5, 3e-4, 1e-4, None, 0, 0.5, False),
    ("SDL-NL", "mnist"): (200, "0 1e-3 3e-3 5e-3 1e-2 2e-2", 1, 0, None, 1e-3, 1e-4, 1e-3, 0, 1, False),
    ("VDL-NL", "mnist"): (200, "0 1e-3 3e-3 5e-3 1e-2 2e-2", 100, 10, 0.5, 3e-4, 1e-4, 1e-3, 0, 0.5, True),
    ("SDL", "patches"): (100, "0 5e-4 1e-3 2e-3 3e-3 5e-3", 1, 0, None, 1e-3, 1e-4, None, 1e-2, 0.5, False),
    ("VDL", "patches"): (100, "0 1e-3 3e-3 5e-3 1e-2 1.5e-2", 5, 10, 0.5, 3e-4, 1e-4, None, 1e-2, 0.5, False),
    ("SDL-NL", "patches"): (100, "0 1e-3 3e-3 5e-3 8e-3 1e-2", 1, 0, None, 1e-3, 1e-4, 1e-2, 1e-2, 0.5, False),
    ("VDL-NL", "patches"): (100, "0 1e-3 2e-3 3e-3 5e-3 1e-2 2e-2", 20, 10, 0.5, 5e-5, 1e-4, 1e-1, 1e-2, 0.5, True),
}
KINDS = ["SDL", "VDL", "WDL", "DO", "SDL-NL", "VDL-NL", "WDL-NL", "DO-NL"]


@pytest.mark.parametrize(("kind", "data"), ROWS)
def test_every_column_is_that_of_the_paper(kind, data):
    row = dict(zip(COLUMNS, ROWS[kind, data], strict=True))
    assert recipes.TABLE3[kind, data].alphas == tuple(float(alpha) for alpha in row["alphas"].split())
    model = recipes.table3(kind, data, alpha=0.005)
    optimizer = model.optimizer
    assert (model.alpha, model.max_iter, model.gamma) == (0.005, row["epochs"], row["gamma"])
    assert (getattr(model, "beta", 0), getattr(model, "std_threshold", None)) == (row["beta"], row["floor"])
    assert (optimizer.learning_rate, optimizer.encoder_learning_rate) == (row["rate"], row["encoder_rate"])
    assert (optimizer.bias_decay, optimizer.encoder_bias_decay) == (row["bias_decay"], row["encoder_bias_decay"])
    assert (optimizer.weight_decay, optimizer.encoder_weight_decay) == (0, 0)
    assert model.solver.step_size == row["step"]
    assert getattr(model, "atom_norm", None) == (None if row["beta"] else 1)
    schedule = optimizer.schedule
    assert (schedule is not None) == row["is_halved"]
    if schedule is not None:  # of the decoder's rate only
        assert (schedule.factor, schedule.n_epochs, optimizer.encoder_schedule) == (0.5, 30, None)


@pytest.mark.parametrize("data", ["mnist", "patches"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_all_rows_share(kind, data):
    model = recipes.table3(kind, data, alpha=0.01, random_state=3, device="cpu")
    assert (model.batch_size, model.early_stopping, model.init) == (250, False, "random")
    assert (model.random_state, model.device) == (3, "cpu")
    assert (model.solver.max_iter, model.solver.tol, model.positive_code) == (200, 1e-3, True)
    assert model.n_components == (128 if data == "mnist" else 256)
    assert (model.encoder is None) == kind.startswith("DO")
    assert isinstance(model.decoder, MLP) == kind.endswith("-NL")
    if kind.endswith("-NL"):
        assert model.decoder.hidden_layer_sizes == ((1024,) if data == "mnist" else (2048,))


@pytest.mark.parametrize("form", ["", "-NL"])
@pytest.mark.parametrize("data", ["mnist", "patches"])
def test_baselines_have_the_row_of_sdl(form, data):
    for kind in ("WDL", "DO"):
        assert recipes.TABLE3[kind + form, data] == recipes.TABLE3["SDL" + form, data]
    decaying = recipes.table3("WDL" + form, data, alpha=0.01)
    assert (decaying.weight_decay, decaying.solver.step_size) == (5e-4, "auto")
    assert decaying.optimizer.encoder_learning_rate == recipes.TABLE3["SDL" + form, data].encoder_learning_rate


def test_multi_layer_models_of_patches_couple_more_strongly_at_large_alpha():
    gammas = {alpha: recipes.table3("VDL-NL", "patches", alpha=alpha).gamma for alpha in (0.005, 0.01, 0.02)}
    assert gammas == {0.005: 20, 0.01: 40, 0.02: 40}
    assert recipes.table3("VDL-NL", "mnist", alpha=0.02).gamma == 100


def test_parameters_can_be_replaced():
    model = recipes.table3("VDL", alpha=0.02, beta=0.0, max_iter=3)
    assert (model.beta, model.max_iter, model.n_components) == (0, 3, 128)


@pytest.mark.parametrize("row", [("VDL-L", "mnist"), ("VDL", "imagenet")])
def test_a_row_that_the_table_lacks_is_refused_with_what_it_has(row):
    with pytest.raises(ValueError, match=r"has no row.*VDL-NL, .*'mnist' and 'patches'"):
        recipes.table3(*row, alpha=0.01)
