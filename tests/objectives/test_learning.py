"""What automatic fits do: a penalty that begins high, few inference steps, encoders that follow, a sought sparsity."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import skvardict
from skvardict import StandardDictionaryLearning, VarianceDictionaryLearning, WeightDecayDictionaryLearning
from skvardict.networks import LISTAEncoder
from skvardict.objectives import Annealing
from skvardict.preprocessing import GlobalStandardizer
from skvardict.solvers import ADMM, FISTA
from skvardict.training import Adam, OnlineUpdate, Position, TargetSparsity


@pytest.fixture(scope="module")
def X():
    return GlobalStandardizer().fit_transform(load_digits().data.astype(np.float32))


def small(estimator=VarianceDictionaryLearning, **parameters):
    return estimator(**{"n_components": 16, "max_iter": 3, "random_state": 0, **parameters})


# --------------------------------------------------------------------------------------------------------- annealing


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [(0.0, 0.8), (2.5, 0.8), (3.0, 0.8 * (0.05 / 0.8) ** 0.25), (3.5, 0.2), (4.5, 0.05), (9.9, 0.05), (10.0, 0.8)],
)
def test_the_weight_is_held_and_falls_geometrically_and_begins_anew_with_another_fit(epoch, expected):
    assert Annealing(peak=0.8)(0.05, Position(0, epoch, 10)) == pytest.approx(expected)


@pytest.mark.parametrize(("alpha", "peak"), [(0.0, 0.8), (0.9, 0.8), (0.8, 0.8)])
def test_a_weight_of_zero_or_above_the_peak_stays(alpha, peak):
    assert Annealing(peak)(alpha, Position(0, 0.0, 10)) == alpha


@pytest.fixture
def penalties(meddle):
    """Returns a function that fits a model and returns the penalty's weight of every step."""

    def look(model, X, method="fit"):
        seen = []

        def record(session):
            penalty = session.objective._penalty
            seen.append(None if penalty is None else penalty.alpha)

        with meddle(record):
            getattr(model, method)(X)
        return seen

    return look


def test_an_automatic_fit_of_the_variance_model_anneals(X, penalties):
    model = small(max_iter=10, batch_size=100)
    seen = penalties(model, X[:400])
    peak = min(2 / 16, 12 * 0.005)
    assert seen[:10] == [pytest.approx(peak)] * 10
    assert seen[18:] == [pytest.approx(0.005)] * 22
    assert all(after <= before for before, after in pairwise(seen))
    assert model.alpha_ == 0.005


@pytest.mark.parametrize(
    "model",
    [
        small(optimizer=Adam()),
        small(alpha=TargetSparsity(0.5)),
        small(StandardDictionaryLearning),
        small(WeightDecayDictionaryLearning),
    ],
    ids=["constant rates", "sparsity", "SDL", "WDL"],
)
def test_other_fits_do_not_anneal(X, penalties, model):
    assert set(penalties(model, X[:200])) == {None}


def test_calls_of_partial_fit_do_not_anneal(X, penalties):
    assert set(penalties(small(), X[:200], "partial_fit")) == {None}


# ------------------------------------------------------------------------------------------- the encoder that follows


def encoder():
    made = LISTAEncoder(7, 5, generator=torch.Generator().manual_seed(0))
    return made.double()


def atoms(seed):
    return torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_input_weights_move_by_their_share_of_the_atoms():
    one, before, after = encoder(), atoms(1), atoms(2)
    weights = one.input.detach().clone()
    rest = {name: value.clone() for name, value in one.state_dict().items() if name != "input"}
    one.follow_(before, after)
    for j in range(5):
        share = (weights[:, j] @ before[j]) / (before[j] @ before[j])
        torch.testing.assert_close(one.input[:, j].detach(), weights[:, j] + share * (after[j] - before[j]))
    assert all(torch.equal(one.state_dict()[name], value) for name, value in rest.items())


def test_weights_that_are_multiples_of_the_atoms_stay_so():
    one, before, after = encoder(), atoms(1), atoms(2)
    factors = torch.tensor([0.5, -1.0, 2.0, 0.0, 3.0], dtype=torch.float64)[:, None]
    with torch.no_grad():
        one.input.copy_((factors * before).T)
    one.follow_(before, after)
    torch.testing.assert_close(one.input.detach(), (factors * after).T)


def test_to_first_order_the_drive_of_the_atom_moves_along_with_it():
    """Of the part of the weights that points along the atom: the other part stands still."""
    one, before, direction = encoder(), atoms(1), atoms(2)
    weights = one.input.detach().clone().T
    size = before.square().sum(1, keepdim=True)
    across = weights - (weights * before).sum(1, keepdim=True) / size * before
    for step in (1e-3, 1e-4):
        moved = encoder()
        moved.follow_(before, before + step * direction)
        now = before + step * direction
        along = (moved.input.detach().T * now).sum(1) / now.square().sum(1)
        expected = (weights * before).sum(1) / size[:, 0] + step * (across * direction).sum(1) / size[:, 0]
        assert float((along - expected).abs().max()) < 10 * step**2


def test_atoms_of_zero_and_atoms_that_stay_move_nothing():
    one, before = encoder(), atoms(1)
    weights = one.input.detach().clone()
    one.follow_(before, before)
    assert torch.equal(one.input.detach(), weights)
    one.follow_(torch.zeros_like(before), before)
    assert torch.isfinite(one.input).all()
    torch.testing.assert_close(one.input.detach(), weights)


@pytest.mark.parametrize(
    ("model", "tracks"),
    [
        (small(), True),
        (small(optimizer=OnlineUpdate()), True),
        (small(optimizer=Adam()), False),
        (small(encoder="mlp"), False),
        (small(decoder="mlp"), False),
    ],
    ids=["automatic", "online", "constant rates", "another encoder", "another decoder"],
)
def test_only_a_lista_encoder_of_a_linear_decoder_follows(X, meddle, monkeypatch, model, tracks):
    calls = []
    monkeypatch.setattr(LISTAEncoder, "follow_", lambda self, before, after: calls.append((before, after)))
    model.set_params(max_iter=2, batch_size=50).fit(X[:100])
    assert len(calls) == (4 if tracks else 0)
    assert all(not torch.equal(before, after) for before, after in calls)


# ---------------------------------------------------------------------------------------------- few inference steps


@pytest.mark.parametrize(
    ("model", "n_iter"),
    [
        (small(), 4),
        (small(decoder="mlp"), 4),
        (small(StandardDictionaryLearning), 4),
        (small(StandardDictionaryLearning, encoder=None), ADMM().max_iter),
    ],
    ids=["VDL", "VDL-NL", "SDL", "online"],
)
def test_an_automatic_fit_infers_in_few_steps_that_nobody_expects_to_converge(X, model, n_iter, recwarn):
    history = model.fit(X[:300]).history_
    assert max(history["solver_n_iter"]) <= n_iter
    assert history["solver_n_unconverged"] == [0, 0, 0]
    assert not any("converge" in str(warning.message) for warning in recwarn)


def test_the_users_solver_is_taken_at_its_word(X):
    history = small(solver=FISTA(max_iter=60, tol=1e-6)).fit(X[:300]).history_
    assert min(history["solver_n_iter"]) > 4
    assert history["solver_n_unconverged"][0] > 0


def test_codes_of_transform_come_from_the_solver_of_the_model(X):
    model = small(transform_algorithm="solver").fit(X[:300])
    assert model.encode(X[:300]).converged.mean() > 0.99
    assert model.encode(X[:300]).n_iter.max() > 4


# --------------------------------------------------------------------------------------------------------- sparsity


@pytest.mark.filterwarnings("ignore:.*L1 norm of codes has fallen:UserWarning")  # as alpha rises
@pytest.mark.parametrize(
    ("model", "target"),
    [
        (small(), 0.8),
        (small(StandardDictionaryLearning), 0.5),
        (small(StandardDictionaryLearning), 0.8),
        (small(StandardDictionaryLearning, encoder=None), 0.5),
        (small(StandardDictionaryLearning, encoder=None), 0.8),
    ],
)
def test_the_sparsity_that_was_asked_for_comes_about(X, model, target):
    """200 steps, a fraction of the automatic budget: alpha follows faster to make up for it."""
    model.set_params(max_iter=25, alpha=TargetSparsity(target, rate=0.3)).fit(X[:1000])
    assert (model.transform(X[1000:]) == 0).mean() == pytest.approx(target, abs=0.03)


@pytest.mark.parametrize("encoder", ["lista", None])
def test_the_last_epoch_is_kept_where_energies_of_different_weights_do_not_compare(X, encoder):
    """A lower energy would be one of a lower alpha."""
    model = small(StandardDictionaryLearning, encoder=encoder, max_iter=15, early_stopping=True)
    model.set_params(alpha=TargetSparsity(0.8, rate=0.3)).fit(X[:1000])
    assert (model.best_epoch_, model.n_iter_) == (15, 15)
    assert np.argmin(model.history_["validation_energy"]) < 14
    assert (model.transform(X[1000:]) == 0).mean() == pytest.approx(0.8, abs=0.05)


def test_the_weight_that_was_found_is_recorded_saved_and_used(X, tmp_path):
    model = small(alpha=TargetSparsity(0.6), transform_algorithm="solver").fit(X[:300])
    assert model.alpha_ == pytest.approx(model.history_["alpha"][-1])
    assert model.alpha_ == pytest.approx(float(model.params_["penalty.alpha"]))
    assert model.alpha_ != pytest.approx(0.005, rel=0.01)
    model.save(tmp_path / "model")
    other = skvardict.load(tmp_path / "model")
    assert other.alpha_ == model.alpha_
    np.testing.assert_array_equal(other.transform(X), model.transform(X))
    terms = model.energy(X)
    expected = terms["reconstruction"] + model.alpha_ * terms["l1"] + 5 * terms["coupling"]
    assert terms["total"] == pytest.approx(expected, rel=1e-5)


def test_every_batch_moves_the_weight_by_what_the_codes_lack(X, meddle):
    seen = []

    def record(session):
        model = session.objective.model
        with torch.no_grad():
            zeros = (model.encoder(torch.from_numpy(X[:200])) == 0).float().mean()
        seen.append((float(zeros), float(model.tuned.alpha)))

    with meddle(record):  # one batch of all rows: what is seen is what the step sees
        model = small(alpha=TargetSparsity(0.6, rate=0.5), batch_size=200, max_iter=3).fit(X[:200])
    after = [alpha for _, alpha in seen[1:]] + [model.alpha_]
    for (zeros, alpha), moved in zip(seen, after, strict=True):
        assert moved == pytest.approx(alpha * np.exp(0.5 * (0.6 - zeros)), rel=1e-5)


@pytest.mark.parametrize("target", [TargetSparsity(1.0), TargetSparsity(0.5, rate=0.0)])
def test_a_target_out_of_range_is_refused(X, target):
    with pytest.raises(ValueError, match="TargetSparsity"):
        small(alpha=target).fit(X[:50])


def test_the_fitted_weight_is_that_of_the_fit_whatever_is_set_afterwards():
    X = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
    model = VarianceDictionaryLearning(4, alpha=0.01, max_iter=1, random_state=0).fit(X)
    assert model.set_params(alpha=0.5).alpha_ == 0.01
    assert VarianceDictionaryLearning(4, max_iter=1, random_state=0).fit(X).alpha_ == 0.005 * 8 / 64
