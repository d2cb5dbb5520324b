"""Estimators as assemblies of parts: constructors, names, nested settings, grids, documentation."""

import inspect

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

import skvardict
from skvardict import SparseCoder, SparseVAE, ThresholdedVSC, VarianceDictionaryLearning
from skvardict.networks import LISTA, MLP, Conv, ResidualMLP, ResNet
from skvardict.solvers import FISTA
from skvardict.training import (
    SGD,
    Adam,
    CosineRate,
    Decay,
    EarlyStopping,
    OnlineUpdate,
    Position,
    Ramp,
    StepDecay,
    TargetSparsity,
)

ESTIMATORS = {name: getattr(skvardict, name) for name in skvardict.__all__ if inspect.isclass(getattr(skvardict, name))}
PARTS = [
    Adam(),
    SGD(),
    EarlyStopping(),
    OnlineUpdate(),
    TargetSparsity(),
    LISTA(),
    MLP(),
    ResidualMLP(),
    ResNet(),
    Conv((8, 8)),
    StepDecay(),
    CosineRate(),
    Ramp(),
    Decay(),
]
# What the papers' tables vary, and what codes and dictionaries look like: split_sign and sparse_output everywhere,
# missing everywhere, positive_dict in dictionary learning; expectation and divergence of variational models.
MOST_PARAMETERS = {"VarianceDictionaryLearning": 19 + 4, "SparseVAE": 19 + 4, "ThresholdedVSC": 25 + 5}


@pytest.fixture
def X():
    return np.random.default_rng(0).standard_normal((60, 12)).astype(np.float32)


@pytest.mark.parametrize("name", MOST_PARAMETERS)
def test_constructors_stay_short(name):
    assert len(ESTIMATORS[name]().get_params(deep=False)) <= MOST_PARAMETERS[name]


@pytest.mark.parametrize("cls", [*ESTIMATORS.values(), *map(type, PARTS)], ids=lambda cls: cls.__name__)
def test_every_parameter_is_documented_with_its_default(cls):
    for name, given in inspect.signature(cls).parameters.items():
        line = next(line for line in cls.__doc__.splitlines() if line.startswith(f"{name} : "))
        if given.default is not inspect.Parameter.empty:
            assert line.endswith(f"default={given.default!r}")


@pytest.mark.parametrize("cls", ESTIMATORS.values(), ids=ESTIMATORS)
def test_only_the_first_parameter_is_positional(cls):
    kinds = {p.name: p.kind for p in inspect.signature(cls).parameters.values()}
    positional = {name for name, kind in kinds.items() if kind is not inspect.Parameter.KEYWORD_ONLY}
    assert positional == {"dictionary" if cls is SparseCoder else "n_components"}


@pytest.mark.parametrize("part", PARTS, ids=lambda part: type(part).__name__)
def test_parts_clone_print_and_compare_by_parameters(part):
    copy = clone(part)
    assert copy is not part
    assert copy.get_params() == part.get_params()
    assert eval(repr(part), globals()) is not None
    part.check()


def test_print_shows_only_what_differs():
    assert str(VarianceDictionaryLearning()) == "VarianceDictionaryLearning()"
    assert str(VarianceDictionaryLearning(optimizer=Adam(0.01))) == (
        "VarianceDictionaryLearning(optimizer=Adam(learning_rate=0.01))"
    )


@pytest.mark.parametrize(
    ("named", "part"),
    [
        ({"decoder": "mlp"}, {"decoder": MLP()}),
        ({"encoder": "lista"}, {"encoder": LISTA(3)}),
        ({"early_stopping": True}, {"early_stopping": EarlyStopping()}),
    ],
)
def test_a_name_is_the_part_with_its_defaults(named, part, X):
    models = [VarianceDictionaryLearning(5, max_iter=2, random_state=0, **kw).fit(X) for kw in (named, part)]
    np.testing.assert_array_equal(models[0].transform(X), models[1].transform(X))


@pytest.mark.parametrize("cls", [SparseVAE, ThresholdedVSC])
def test_the_named_encoder_of_variational_models_has_two_layers(cls, X):
    kw = {"n_components": 5, "max_iter": 1, "random_state": 0}
    models = [cls(encoder=encoder, **kw).fit(X) for encoder in ("mlp", MLP((512, 512)))]
    np.testing.assert_array_equal(*(model.params_["encoder.0.weight"] for model in models))


def test_grid_over_a_flat_and_a_nested_parameter_at_once(X):
    y = np.arange(60) % 2
    coder = VarianceDictionaryLearning(4, max_iter=1, optimizer=Adam(), encoder=LISTA(), random_state=0)
    pipeline = Pipeline([("sc", coder), ("clf", LogisticRegression())])
    grid = {"sc__alpha": [0.01, 0.1], "sc__optimizer__learning_rate": [1e-3, 1e-2], "sc__encoder__n_iter": [1]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    best = search.best_estimator_["sc"]
    assert best.encoder.n_iter == 1
    assert best.optimizer.learning_rate in (1e-3, 1e-2)
    assert coder.encoder.n_iter == 3


@pytest.mark.parametrize(
    ("setting", "advice"),
    [
        ("encoder__n_iter", r"encoder='lista' has none. Pass encoder=LISTA\(\)"),
        ("optimizer__learning_rate", r"optimizer='auto' has none. Pass optimizer=Adam\(\)"),
        ("decoder__hidden_layer_sizes", r"Pass decoder=MLP\(\)"),
        ("early_stopping__tol", r"Pass early_stopping=EarlyStopping\(\)"),
        ("solver__tol", r"Pass solver=FISTA\(\)"),
    ],
)
def test_settings_of_a_name_say_what_to_pass(setting, advice):
    with pytest.raises(ValueError, match=advice):
        VarianceDictionaryLearning().set_params(**{setting: 2})
    part = setting.split("__")[0]
    given = {
        "encoder": LISTA(),
        "optimizer": Adam(),
        "decoder": MLP(),
        "early_stopping": EarlyStopping(),
        "solver": FISTA(),
    }
    VarianceDictionaryLearning().set_params(**{part: given[part], setting: 2})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": LISTA(-1)}, "n_iter"),
        ({"decoder": MLP((3, 0))}, "MLP: hidden_layer_sizes"),
        ({"optimizer": Adam(learning_rate=0)}, "learning_rate"),
        ({"optimizer": Adam(betas=(1.0, 0.9))}, "Adam: betas"),
        ({"optimizer": Adam(schedule=StepDecay(-1, 1))}, "factor"),
        ({"optimizer": "adam"}, "'optimizer' parameter"),
        ({"early_stopping": EarlyStopping(validation_fraction=2)}, "validation_fraction"),
        ({"decoder": LISTA()}, "'decoder' parameter"),
        ({"encoder": Adam()}, "'encoder' parameter"),
    ],
)
def test_settings_out_of_range_are_named_before_anything_is_lost(changes, message, X):
    model = VarianceDictionaryLearning(4, max_iter=1, random_state=0).fit(X)
    codes = model.transform(X)
    with pytest.raises(ValueError, match=message):
        clone(model).set_params(**changes).fit(X)
    np.testing.assert_array_equal(model.transform(X), codes)


def test_an_mlp_encoder_predicts_codes_of_the_wanted_sign(X):
    for positive in (True, False):
        model = VarianceDictionaryLearning(
            5, encoder=MLP((16,)), positive_code=positive, max_iter=3, random_state=0, optimizer=Adam(1e-2)
        ).fit(X)
        assert (model.transform(X) >= 0).all() == positive


def test_step_decay_acts_on_the_parts_it_is_given_to(X):
    """With a decoder's rate of zero from the second epoch on, atoms no longer move and the encoder does."""
    optimizer = Adam(1e-2, schedule=StepDecay(1e-30, 1), encoder_schedule=None)
    first, second = (
        VarianceDictionaryLearning(5, max_iter=n, optimizer=optimizer, early_stopping=False, random_state=0).fit(X)
        for n in (1, 2)
    )
    np.testing.assert_allclose(first.components_, second.components_, atol=1e-20)
    assert not np.allclose(first.params_["encoder.input"], second.params_["encoder.input"])


@pytest.mark.parametrize(
    ("schedule", "at", "value"),
    [
        (StepDecay(0.5, 30), Position(0, 59.9, 100), 0.5),
        (CosineRate(0.1), Position(0, 5.0, 100), 0.5),
        (CosineRate(0.0), Position(0, 50.0, 100), 0.5),
        (Ramp(0.2, 10, 20), Position(15, 0.0, 1), 0.6),
        (Ramp(0.2, 0.1, 0.2, unit="fraction"), Position(0, 15.0, 100), 0.6),
        (Decay(1.0, 0.5, 0.9), Position(2, 0.0, 1), 0.81),
        (Decay(1.0, 0.5, 0.9), Position(1000, 0.0, 1), 0.5),
        (StepDecay(0.5, 30, total=300), Position(7, 20.5, 100), 0.25),  # as epoch 61.5 of 300
        (Decay(1.0, 0.5, 0.9, total=400), Position(7, 0.5, 100), 0.81),  # as step 2 of 400
    ],
)
def test_schedules(schedule, at, value):
    assert schedule(at) == pytest.approx(value)


class _WideDecoder(BaseEstimator):
    """A decoder part that inherits nothing of the package."""

    def __init__(self, hidden=4):
        self.hidden = hidden

    def build_decoder(self, n_features, n_components, generator):
        return MLP((self.hidden,)).build_decoder(n_features, n_components, generator)


def test_a_part_of_the_user_needs_the_method_only(X):
    model = VarianceDictionaryLearning(3, decoder=_WideDecoder(), max_iter=1, early_stopping=False, random_state=0)
    fitted = clone(model).set_params(decoder__hidden=5).fit(X)
    assert fitted.decoder_.weights[0].shape == (3, 5)


SIZES = [(9, 8), [9, 8], np.array([9, 8]), np.array([9, 8], dtype=">i2"), torch.tensor([9, 8]), range(9, 7, -1)]


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: type(sizes).__name__)
@pytest.mark.parametrize("part", [MLP, ResNet])
def test_sizes_are_whole_numbers_of_any_kind_also_with_a_checkpoint(X, tmp_path, part, sizes):
    def fit(given):
        coder = VarianceDictionaryLearning(4, encoder=part(given), max_iter=1, random_state=0)
        path = tmp_path / "run"
        clone(coder).fit(X, checkpoint=path)
        return coder.fit(X, checkpoint=path)  # goes on from a finished run

    fitted = fit(sizes)
    assert fitted.resumed_epoch_ == 1
    expected = VarianceDictionaryLearning(4, encoder=part((9, 8)), max_iter=1, random_state=0).fit(X)
    np.testing.assert_array_equal(fitted.components_, expected.components_)


@pytest.mark.parametrize("size", [9, np.int64(9), np.array(9), np.array([9]), torch.tensor(9), (9,)])
def test_one_number_is_one_layer(size):
    assert MLP(size).sizes() == (9,)


@pytest.mark.parametrize("sizes", [0, -3, 9.0, [9.0], np.array([[9]]), True, [9, [8]], (9, None)])
def test_what_is_no_sizes_is_refused(sizes):
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        MLP(sizes).sizes()


@pytest.mark.parametrize("shape", [[3, 4], np.array([3, 4]), torch.tensor([1, 3, 4]), (np.int64(3), 4)])
def test_image_shapes_are_whole_numbers_of_any_kind(shape):
    with pytest.raises(ValueError, match="multiples of 4"):  # the shape was read
        Conv(shape).build_decoder(12, 4, None)
    with pytest.raises(ValueError, match="is no image shape"):
        Conv([12]).build_decoder(12, 4, None)
