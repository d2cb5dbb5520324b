"""Models trained together are those trained alone, whatever the others are."""

import warnings
from itertools import product

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits

from skvardict import (
    SparseVAE,
    SpikeAndSlabVSC,
    StandardDictionaryLearning,
    ThresholdedVSC,
    VarianceDictionaryLearning,
    WeightDecayDictionaryLearning,
)
from skvardict.estimators import _together
from skvardict.estimators._together import Member, fit_together, why_alone
from skvardict.networks import LISTA, MLP, Conv, ResidualMLP
from skvardict.preprocessing import GlobalStandardizer
from skvardict.solvers import FISTA, ISTA
from skvardict.training import (
    SGD,
    Adam,
    CosineRate,
    EarlyStopping,
    OnlineUpdate,
    StepDecay,
    TargetSparsity,
    TrainingDivergedError,
    together,
)

# 24 features of 160 digits: batches of 40 rows, four a epoch. Sums of float64 in another order differ by 1e-16 a step,
# and a code that is switched on or off by that moves others by as much.
TOLERANCE = {np.float64: 1e-9, np.float32: 2e-3}
OF_ADMM = 1e-4  # which iterates in single precision, whatever the rows
MODELS = {
    "VDL": VarianceDictionaryLearning(),
    "VDL, no encoder": VarianceDictionaryLearning(encoder=None),
    "VDL, signed": VarianceDictionaryLearning(positive_code=False, init="data"),
    "VDL, MLP encoder": VarianceDictionaryLearning(encoder=MLP((20,))),
    "VDL, residual": VarianceDictionaryLearning(encoder=ResidualMLP((10, 10))),
    "VDL, no recurrence": VarianceDictionaryLearning(encoder=LISTA(0)),
    "VDL, Adam": VarianceDictionaryLearning(optimizer=Adam(3e-3, weight_decay=1e-3, schedule=StepDecay(0.5, 2))),
    "VDL, SGD": VarianceDictionaryLearning(optimizer=SGD(1e-2), gamma=1.0),
    "VDL, SGD with a rate of atoms": VarianceDictionaryLearning(
        optimizer=SGD(1e-2, dictionary_learning_rate=0.1, momentum=0.0, max_grad_norm=None)
    ),
    "VDL, online": VarianceDictionaryLearning(optimizer=OnlineUpdate()),
    "VDL, ISTA": VarianceDictionaryLearning(optimizer=Adam(), solver=ISTA(max_iter=30)),
    "VDL, restarts": VarianceDictionaryLearning(solver=FISTA(max_iter=12, restart=True, tol=1e-2)),
    "VDL, backtracking": VarianceDictionaryLearning(solver=FISTA(max_iter=12, step_size="backtracking")),
    "VDL, fixed step": VarianceDictionaryLearning(solver=FISTA(max_iter=12, step_size=0.2)),
    "VDL, target": VarianceDictionaryLearning(alpha=TargetSparsity(0.8)),
    "VDL, non-negative atoms": VarianceDictionaryLearning(positive_dict=True),
    "VDL, non-negative atoms online": VarianceDictionaryLearning(positive_dict=True, optimizer=OnlineUpdate()),
    "VDL-NL": VarianceDictionaryLearning(decoder=MLP((16,))),
    "SDL": StandardDictionaryLearning(),
    "SDL, gap": StandardDictionaryLearning(solver=FISTA(max_iter=20, criterion="gap"), optimizer=Adam(1e-3)),
    "SDL, online": StandardDictionaryLearning(encoder=None),
    "SDL, signed online": StandardDictionaryLearning(encoder=None, positive_code=False),
    "SDL, non-negative atoms online": StandardDictionaryLearning(encoder=None, positive_dict=True),
    "SDL-NL": StandardDictionaryLearning(decoder=MLP((16,)), solver=FISTA(max_iter=10)),
    "SDL-NL, no encoder": StandardDictionaryLearning(decoder=MLP((16,)), encoder=None, solver=FISTA(max_iter=10)),
    "WDL": WeightDecayDictionaryLearning(),
    "WDL, online": WeightDecayDictionaryLearning(encoder=None),
    "WDL, gradient steps": WeightDecayDictionaryLearning(
        encoder=None, positive_code=False, optimizer=SGD(0.1, dictionary_learning_rate=0.2)
    ),
    "WDL-NL": WeightDecayDictionaryLearning(decoder=MLP((16,)), solver=FISTA(max_iter=10)),
}


@pytest.fixture(scope="module")
def X():
    features = load_digits().data[:240, 20:44]
    return GlobalStandardizer().fit_transform(features)


@pytest.fixture(autouse=True)
def of_short_runs_nothing_is_said():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def sizes_of_programs(monkeypatch):
    """How many members each program had that came to its end: what failed would be fitted alone."""
    sizes = []
    original = _together.train_together

    def counting(runs):
        outcomes = original(runs)
        sizes.append(len(runs))
        return outcomes

    monkeypatch.setattr(_together, "train_together", counting)
    return sizes


def build_dense(n_features, n_components):
    return torch.nn.Linear(n_components, n_features)


def small(estimator, **changes):
    return clone(estimator).set_params(**{"n_components": 12, "batch_size": 40, "max_iter": 13, **changes})


def mixed(estimator, **changes):
    """Four models that differ in weights, seed and rows, two of them in the number of rows."""
    alphas = [0.002, 0.03, 0.0, 0.01]
    members = []
    for number, alpha in enumerate(alphas):
        model = small(estimator, random_state=number, **changes)
        if "alpha" in model.get_params() and not isinstance(model.alpha, TargetSparsity):
            model.set_params(alpha=alpha)
        for name, values in WEIGHTS.items():
            if model.get_params().get(name) is not None:
                model.set_params(**{name: values[number]})
        if "std_threshold" in model.get_params():
            model.set_params(std_threshold=0.3 + 0.1 * number)
        rows = np.random.default_rng(number).permutation(240)[: 160 - number % 2]
        members.append(Member(model, np.sort(rows)))
    return members


def alone(members, X):
    return [clone(member.estimator).fit(X[member.rows]) for member in members]


WEIGHTS = {"beta": [10.0, 3.0, 0.5, 30.0], "gamma": [5.0, 1.0, 20.0, 2.0], "atom_norm": [1.0, 0.5, 2.0, 1.0]}
VARIATIONAL = {
    "SVAE": SparseVAE(encoder=MLP((10,)), expectation="draws"),
    "SVAE, exact": SparseVAE(encoder=ResidualMLP((10, 10))),
    "SVAE, draws": SparseVAE(encoder=MLP((10,)), n_draws=3, draw_reduction="max", expectation="draws"),
    "SVAE, mean of draws": SparseVAE(
        encoder=ResidualMLP((10, 10)), n_draws=2, prior="gaussian", atom_norm=None, expectation="draws"
    ),
    "SVAE, Cauchy": SparseVAE(encoder=MLP((10,)), n_draws=2, prior="cauchy"),
    "SVAE, MLP decoder": SparseVAE(encoder=MLP((10,)), decoder=MLP((8,)), atom_norm=None),
    "TVSC": ThresholdedVSC(encoder=MLP((10,)), n_draws=4, expectation="draws"),
    "TVSC, Gaussian": ThresholdedVSC(
        encoder=MLP((10,)), n_draws=2, base="gaussian", draw_reduction="iwae", expectation="draws"
    ),
    "TVSC, exact": ThresholdedVSC(encoder=MLP((10,))),
    "TVSC, Gaussian, exact": ThresholdedVSC(encoder=MLP((10,)), base="gaussian", divergence="aggregate"),
    "SSVSC, exact": SpikeAndSlabVSC(encoder=MLP((10,))),
    "SSVSC, learnt noise": SpikeAndSlabVSC(encoder=MLP((10,)), kl_weight="auto"),
    "SSVSC, online": SpikeAndSlabVSC(encoder=MLP((10,)), optimizer=OnlineUpdate()),
    "TVSC, Gamma": ThresholdedVSC(encoder=MLP((10,)), n_draws=3, threshold_prior="gamma"),
    "TVSC, Gamma, importance": ThresholdedVSC(
        encoder=MLP((10,)), n_draws=3, threshold_prior="gamma", draw_reduction="iwae"
    ),
    "TVSC, Gaussian, importance": ThresholdedVSC(
        encoder=MLP((10,)), n_draws=2, base="gaussian", draw_reduction="iwae", expectation="draws"
    ),
    "SVAE, importance": SparseVAE(encoder=MLP((10,)), n_draws=2, draw_reduction="iwae", expectation="draws"),
}


def tolerance_of(name):
    is_admm = name.endswith("online") and not name.startswith("VDL")
    return OF_ADMM if is_admm else TOLERANCE[np.float64]


def assert_same_state(one, other, tolerance):
    for name, array in one.params_.items():
        np.testing.assert_allclose(
            other.params_[name], array, rtol=tolerance, atol=tolerance * np.abs(array).max(), err_msg=name
        )
    assert one.history_.keys() == other.history_.keys()
    for name in one.history_.keys() - {"seconds"}:
        np.testing.assert_allclose(
            other.history_[name], one.history_[name], rtol=tolerance, atol=tolerance, err_msg=name
        )
    for name in ("n_iter_", "n_steps_", "best_epoch_", "n_dead_", "n_features_in_", "resumed_epoch_"):
        assert getattr(other, name) == getattr(one, name)
    if hasattr(one, "alpha_"):
        assert other.alpha_ == pytest.approx(one.alpha_, rel=tolerance)
    assert one._train_state.keys() == other._train_state.keys()
    for name, array in one._train_state.items():
        atol = tolerance * max(np.abs(array).max(), 1e-12)
        np.testing.assert_allclose(other._train_state[name], array, rtol=tolerance, atol=atol, err_msg=name)


@pytest.mark.parametrize("name", MODELS)
def test_a_member_ends_as_it_does_alone(name, X, sizes_of_programs):
    members = mixed(MODELS[name])
    expected = alone(members, X)
    assert fit_together(members, X) == [None] * 4
    assert sizes_of_programs == [4]
    for one, member in zip(expected, members, strict=True):
        assert one.n_steps_ == 52
        assert_same_state(one, member.estimator, tolerance_of(name))


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("name", VARIATIONAL)
def test_variational_members_end_as_they_do_alone(name, early_stopping, X, sizes_of_programs):
    members = mixed(
        VARIATIONAL[name], early_stopping=EarlyStopping(validation_fraction=0.2) if early_stopping else False
    )
    for number, member in enumerate(members):
        if member.estimator.kl_weight != "auto":
            member.estimator.set_params(kl_weight=0.001 * (1 + number))
    expected = alone(members, X)
    assert fit_together(members, X) == [None] * 4
    assert sizes_of_programs == [4]
    for one, member in zip(expected, members, strict=True):
        assert member.estimator.noise_seed_ == one.noise_seed_
        assert_same_state(one, member.estimator, TOLERANCE[np.float64])


@pytest.mark.parametrize("name", ["VDL", "SDL, online", "SDL-NL"])
def test_single_precision_differs_by_rounding_only(name, X, sizes_of_programs):
    """After 12 steps: rounding of 6e-8 is magnified by codes that switch on or off."""
    X = X.astype(np.float32)
    members = mixed(MODELS[name], max_iter=3)
    expected = alone(members, X)
    assert fit_together(members, X) == [None] * 4
    assert sizes_of_programs == [4]
    for one, member in zip(expected, members, strict=True):
        assert member.estimator.components_.dtype == np.float32
        for key, array in one.params_.items():
            np.testing.assert_allclose(
                member.estimator.params_[key], array, atol=TOLERANCE[np.float32] * np.abs(array).max(), err_msg=key
            )


@pytest.mark.parametrize("name", ["VDL", "VDL, no encoder", "SDL, online", "VDL-NL"])
def test_members_stop_at_epochs_of_their_own(name, X, sizes_of_programs):
    stopping = EarlyStopping(validation_fraction=0.2, n_iter_no_change=2, tol=0.02)
    optimizer = "auto" if "online" in name else Adam(0.02)
    members = mixed(MODELS[name], early_stopping=stopping, max_iter=20, optimizer=optimizer)
    members[1].estimator.set_params(max_iter=3)
    members[2].estimator.set_params(early_stopping=False, max_iter=9)
    expected = alone(members, X)
    fit_together(members, X)
    assert sizes_of_programs[0] >= 3
    assert len({one.n_iter_ for one in expected}) >= 3
    for one, member in zip(expected, members, strict=True):
        assert_same_state(one, member.estimator, tolerance_of(name))


@pytest.mark.parametrize("decoder", ["linear", MLP((16,))])
def test_one_that_diverges_leaves_and_the_others_go_on(decoder, X, sizes_of_programs):
    estimator = VarianceDictionaryLearning(decoder=decoder, optimizer=Adam(1e-3), early_stopping=False)
    members = mixed(estimator)
    members[2].estimator.set_params(optimizer=Adam(1e300), alpha=0.01)
    expected = alone([member for member in members if member is not members[2]], X)
    with pytest.raises(TrainingDivergedError) as error:
        clone(members[2].estimator).fit(X[members[2].rows])
    errors = fit_together(members, X)
    assert sizes_of_programs == [4]
    assert [type(one) for one in errors] == [type(None), type(None), TrainingDivergedError, type(None)]
    assert str(errors[2]) == str(error.value)
    assert not hasattr(members[2].estimator, "params_")
    for one, index in zip(expected, (0, 1, 3), strict=True):
        assert_same_state(one, members[index].estimator, TOLERANCE[np.float64])


def test_one_that_diverges_late_keeps_its_last_good_epoch(X):
    def rate(position):
        return 1.0 if position.epoch < 3 else 1e25

    members = mixed(VarianceDictionaryLearning(optimizer=Adam(1e-3), early_stopping=False))
    members[1].estimator.set_params(optimizer=Adam(1e-3, schedule=rate))
    reference = clone(members[1].estimator)
    with pytest.raises(TrainingDivergedError, match="after epoch 3 is kept"):
        reference.fit(X[members[1].rows])
    errors = fit_together(members, X)
    assert "after epoch 3 is kept" in str(errors[1])
    assert members[1].estimator.n_iter_ == 3
    assert_same_state(reference, members[1].estimator, TOLERANCE[np.float64])
    assert all(member.estimator.n_iter_ == 13 for member, error in zip(members, errors, strict=True) if not error)


def test_dead_atoms_are_replaced_by_draws_of_the_member(X):
    members = mixed(MODELS["WDL, online"])
    expected = alone(members, X)
    fit_together(members, X)
    replaced = [one.history_["n_replaced"] for one in expected]
    assert any(map(sum, replaced))
    assert [member.estimator.history_["n_replaced"] for member in members] == replaced


def test_weights_that_agree_change_nothing(X):
    """Where all members have one weight it is a number, else one per member."""
    first, second = (
        [small(MODELS["VDL"], alpha=alpha, random_state=seed) for alpha, seed in pairs]
        for pairs in (
            [(0.01, 0), (0.01, 1)],
            [(0.01, 0), (0.02, 1)],
        )
    )
    fit_together([Member(model) for model in first], X)
    fit_together([Member(model) for model in second], X)
    assert_same_state(first[0], second[0], TOLERANCE[np.float64])


def test_programs_are_bounded_by_memory(X, sizes_of_programs):
    members = mixed(MODELS["VDL"])
    expected = alone(members, X)
    fit_together(members, X, max_bytes=1)
    assert sizes_of_programs == [1, 1, 1, 1]
    for one, member in zip(expected, members, strict=True):
        assert_same_state(one, member.estimator, TOLERANCE[np.float64])
    sizes_of_programs.clear()
    per_member = _together._bytes_of(_together._begin(members, X)[0])
    fit_together(members, X, max_bytes=3 * per_member)
    assert sizes_of_programs == [2, 2]


def test_architectures_make_programs_of_their_own(X, sizes_of_programs):
    estimators = [
        small(MODELS["VDL"], n_components=n, encoder=encoder, random_state=0, max_iter=2)
        for n, encoder in product([6, 8], ["lista", LISTA(3), LISTA(1)])
    ]
    estimators += [small(MODELS["SDL"], max_iter=2), small(MODELS["VDL"], decoder=build_dense, max_iter=2)]
    expected = [clone(estimator).fit(X) for estimator in estimators[:-2]]
    assert fit_together([Member(estimator) for estimator in estimators], X) == [None] * 8
    assert sizes_of_programs == [2, 2]  # a name is the part that it stands for; what has no mate is fitted alone
    for one, other in zip(expected, estimators, strict=False):
        assert_same_state(one, other, TOLERANCE[np.float64])
    assert all(hasattr(estimator, "components_") for estimator in estimators)


def test_a_fitted_member_goes_on(X, tmp_path):
    """By `partial_fit`, by `warm_start`, and after it was saved."""
    members = mixed(MODELS["VDL"])
    expected = alone(members, X)
    fit_together(members, X)
    for one, member in zip(expected, members, strict=True):
        for estimator in (one, member.estimator):
            estimator.partial_fit(X[:80]).set_params(warm_start=True, max_iter=2).fit(X[:80])
        assert_same_state(one, member.estimator, TOLERANCE[np.float64])
    members[0].estimator.save(tmp_path / "member")


def test_errors_are_those_of_fit(X):
    good, bad = small(MODELS["VDL"], random_state=0, max_iter=2), small(MODELS["VDL"], init=np.ones((3, 3)), max_iter=2)
    members = [Member(good), Member(bad), Member(small(MODELS["VDL"], alpha=-1)), Member(clone(good), np.arange(1))]
    errors = fit_together(members, X)
    assert errors[0] is None
    for member, error in list(zip(members, errors, strict=True))[1:]:
        rows = slice(None) if member.rows is None else member.rows
        with pytest.raises(type(error)) as expected:
            clone(member.estimator).fit(X[rows])
        assert str(error) == str(expected.value)


def test_a_member_with_a_bad_row_fails_by_itself(X):
    X = X.copy()
    X[0, 0] = np.nan
    members = [Member(small(MODELS["VDL"], max_iter=2), rows) for rows in (np.arange(100), np.arange(1, 101))]
    errors = fit_together(members, X)
    assert "NaN" in str(errors[0])
    assert errors[1] is None


def test_tensors_and_frames_are_rows_too(X):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=[f"pixel{index}" for index in range(X.shape[1])])
    for rows_of_all in (torch.tensor(X), frame):
        members = mixed(MODELS["VDL"], max_iter=2)
        expected = alone(members, X)
        assert fit_together(members, rows_of_all) == [None] * 4
        for one, member in zip(expected, members, strict=True):
            np.testing.assert_allclose(member.estimator.components_, one.components_, rtol=1e-9, atol=1e-12)
    assert list(members[0].estimator.feature_names_in_) == list(frame.columns)


def test_a_program_that_fails_leaves_its_members_to_themselves(X, monkeypatch):
    members = mixed(MODELS["VDL"], max_iter=2)
    expected = alone(members, X)

    def failing(runs):
        raise RuntimeError("singular")

    monkeypatch.setattr(_together, "train_together", failing)
    assert fit_together(members, X) == [None] * 4
    for one, member in zip(expected, members, strict=True):
        assert_same_state(one, member.estimator, 0)


def test_an_interrupt_keeps_whole_epochs(X, monkeypatch):
    members = mixed(MODELS["VDL"])
    expected = alone(mixed(MODELS["VDL"], max_iter=13), X)
    calls = []
    train = together._Training._train_batches

    def interrupting(self, number):
        calls.append(number)
        if len(calls) == 23:  # in the sixth epoch of four batches
            raise KeyboardInterrupt
        return train(self, number)

    monkeypatch.setattr(together._Training, "_train_batches", interrupting)
    with pytest.raises(KeyboardInterrupt):
        fit_together(members, X)
    for one, member in zip(expected, members, strict=True):
        assert member.estimator.n_iter_ == 5
        np.testing.assert_allclose(member.estimator.history_["energy"], one.history_["energy"][:5], rtol=1e-9)


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (SpikeAndSlabVSC(expectation="draws"), "draws gates"),
        (VarianceDictionaryLearning(encoder=Conv((28, 28))), "encoder=Conv"),
        (
            VarianceDictionaryLearning(
                decoder=lambda n_features, n_components: torch.nn.Linear(n_components, n_features)
            ),
            "decoder=",
        ),
        (VarianceDictionaryLearning(alpha=-1), "alpha"),
    ],
)
def test_reasons_to_be_alone_are_said(estimator, words):
    assert words in why_alone(estimator)


@pytest.mark.parametrize("estimator", [*MODELS.values(), *VARIATIONAL.values()])
def test_models_of_the_lists_can_be_trained_together(estimator):
    assert why_alone(estimator) is None


def test_a_fit_that_is_continued_is_alone(X):
    estimator = small(MODELS["VDL"], warm_start=True, max_iter=1)
    assert why_alone(estimator) is None
    assert "warm_start" in why_alone(estimator.fit(X))


def test_schedules_of_members_may_differ(X):
    members = mixed(VarianceDictionaryLearning(optimizer=Adam(1e-3)))
    for member, schedule in zip(
        members, [StepDecay(0.5, 1), StepDecay(0.9, 2), CosineRate(0.2), StepDecay(0.5, 1)], strict=True
    ):
        member.estimator.set_params(optimizer=Adam(1e-2, schedule=schedule))
    expected = alone(members, X)
    fit_together(members, X)
    for one, member in zip(expected, members, strict=True):
        assert_same_state(one, member.estimator, TOLERANCE[np.float64])
