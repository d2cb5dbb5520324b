"""Online updates: sums over recent rows, what atoms they ask for, and runs that are cut anywhere."""

from math import exp, log

import numpy as np
import pytest
import torch

from skvardict import StandardDictionaryLearning, VarianceDictionaryLearning, WeightDecayDictionaryLearning
from skvardict.networks import MLP
from skvardict.training import Adam, OnlineUpdate
from skvardict.training.online import forgetting
from skvardict.training.protocol import ParameterGroup, Statistics, Step

pytestmark = pytest.mark.filterwarnings("ignore:.*mean square of X:UserWarning")


@pytest.fixture(scope="module")
def X():
    generator = np.random.default_rng(0)
    codes = np.maximum(generator.standard_normal((300, 6)) - 0.5, 0)
    X = codes @ generator.standard_normal((6, 10)) + 0.1 * generator.standard_normal((300, 10))
    return (X / np.sqrt((X**2).mean())).astype(np.float32)


def small(estimator=StandardDictionaryLearning, **parameters):
    return estimator(**{"n_components": 6, "encoder": None, "max_iter": 4, "random_state": 0, **parameters})


def steps_of(part=None, *, n_components=6, dtype=torch.float64, **group):
    """Return steps on random atoms, and the atoms."""
    generator = torch.Generator().manual_seed(0)
    atoms = torch.nn.Parameter(torch.randn(n_components, 10, generator=generator).to(dtype))
    steps = (part or OnlineUpdate()).start(
        [ParameterGroup("decoder", {"components": atoms}, is_dictionary=True, **group)]
    )
    return steps, atoms


def made_of(codes, X):
    return Step({}, {}, Statistics(codes, codes.T @ codes, codes.T @ X))


def rows_and_codes(n_rows=200, n_components=6, seed=1):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n_rows, 10, dtype=torch.float64, generator=generator)
    return X, torch.randn(n_rows, n_components, dtype=torch.float64, generator=generator).relu()


def run(steps, X, codes, sizes):
    for rows, batch in zip(X.split(sizes), codes.split(sizes)):
        steps.step(made_of(batch, rows), rows, torch.Generator().manual_seed(0))


# -------------------------------------------------------------------------------------------------------------- sums


def test_forgetting_is_the_integral_over_the_rows():
    def by_quadrature(begin, n_new, window, floor):
        edges = np.linspace(begin, begin + n_new, 200_001)
        middles = (edges[1:] + edges[:-1]) / 2
        return exp(-np.sum(np.diff(edges) / np.maximum(floor, window * middles)))

    for begin, n_new in [(0, 10), (90, 50), (400, 1000)]:
        expected = by_quadrature(begin, n_new, 0.2, 24)
        assert forgetting(begin, n_new, 0.2, 24) == pytest.approx(expected, rel=1e-6)
    assert forgetting(0, 12, 0.2, 24) == pytest.approx(exp(-0.5))
    assert forgetting(200, 200, 0.2, 24) == pytest.approx(exp(-log(2) / 0.2))


@pytest.mark.parametrize("sizes", [[500], [1] * 500, [100, 37, 363], [120, 1, 379]])
def test_forgetting_does_not_depend_on_how_rows_are_cut(sizes):
    product, seen = 1.0, 0
    for n_new in sizes:
        product *= forgetting(seen, n_new, 0.2, 24)
        seen += n_new
    assert product == pytest.approx(forgetting(0, 500, 0.2, 24), rel=1e-12)


@pytest.mark.parametrize("sizes", [[200], [70, 70, 60], [1, 150, 49]])
def test_sums_with_a_window_without_end_are_those_over_all_rows(sizes):
    X, codes = rows_and_codes()
    steps, _ = steps_of(OnlineUpdate(1e12))
    run(steps, X, codes, sizes)
    torch.testing.assert_close(steps.gram, codes.T @ codes)
    torch.testing.assert_close(steps.cross, codes.T @ X)
    assert float(steps.rows[1]) == pytest.approx(200)


@pytest.mark.parametrize("window", [0.07, 0.5])
def test_sums_of_uneven_batches_weigh_every_batch_by_what_came_after_it(window):
    X, codes = rows_and_codes()
    steps, _ = steps_of(OnlineUpdate(window))
    sizes = [60, 3, 100, 37]
    run(steps, X, codes, sizes)
    gram, cross, mass, seen = torch.zeros(6, 6).double(), torch.zeros(6, 10).double(), 0.0, 0
    for rows, batch in zip(X.split(sizes), codes.split(sizes)):
        seen += len(rows)
        left = forgetting(seen, 200 - seen, window, 24)
        gram += left * batch.T @ batch
        cross += left * batch.T @ rows
        mass += left * len(rows)
    torch.testing.assert_close(steps.gram, gram)
    torch.testing.assert_close(steps.cross, cross)
    assert steps.rows.tolist() == [200, pytest.approx(mass)]


# ------------------------------------------------------------------------------------------------------------- atoms


def test_atoms_of_a_norm_keep_it_and_lower_the_error_of_the_sums():
    X, codes = rows_and_codes()
    steps, atoms = steps_of(atom_norm=2.0)
    with torch.no_grad():
        atoms *= 2 / torch.linalg.vector_norm(atoms, dim=1, keepdim=True)
    before = float((X - codes @ atoms.detach()).square().sum())
    run(steps, X, codes, [200])
    assert float((X - codes @ atoms.detach()).square().sum()) < before
    torch.testing.assert_close(torch.linalg.vector_norm(atoms.detach(), dim=1), torch.full((6,), 2.0).double())


def test_atoms_with_weight_decay_are_where_gradient_steps_stand_still():
    """The optimiser adds ``w W`` to the gradient of the mean squared error of the rows in the window."""
    X, codes = rows_and_codes()
    steps, atoms = steps_of(weight_decay=0.01)
    run(steps, X, codes, [200])  # one batch: all rows have one weight
    loss = torch.nn.functional.mse_loss(codes @ atoms, X)
    (gradient,) = torch.autograd.grad(loss, atoms)
    torch.testing.assert_close(gradient, -0.01 * atoms.detach(), rtol=1e-8, atol=1e-12)


def test_damped_atoms_minimise_the_error_and_the_way_from_the_old_ones():
    X, codes = rows_and_codes()
    steps, atoms = steps_of(OnlineUpdate(damping=0.3))
    old = atoms.detach().clone()
    run(steps, X, codes, [200])
    weight = 0.3 * (codes.T @ codes).diagonal().mean()
    loss = (X - codes @ atoms).square().sum() + weight * (atoms - old).square().sum()
    (gradient,) = torch.autograd.grad(loss, atoms)
    assert float(gradient.abs().max()) < 1e-9


def test_damped_atoms_stay_where_no_code_is_active():
    X, codes = rows_and_codes()
    steps, atoms = steps_of()
    old = atoms.detach().clone()
    run(steps, X[:20], 0 * codes[:20], [20])
    torch.testing.assert_close(atoms.detach(), old)


# -------------------------------------------------------------------------------------------------------- dead atoms


def test_an_atom_that_was_idle_for_eight_rows_per_atom_is_replaced():
    X, codes = rows_and_codes()
    codes[:, 2] = 0
    steps, _ = steps_of(atom_norm=1.0)
    run(steps, X, codes, [47, 1, 152])
    assert steps.report() == {"n_replaced": 2}  # after 48 rows, and after 152 more
    assert steps.report() == {"n_replaced": 0}


def test_replaced_atoms_are_rows_in_the_norm_of_the_others():
    X, codes = rows_and_codes(48)
    codes[:, 2] = 0
    steps, atoms = steps_of(atom_norm=1.0)
    run(steps, X, codes, [48])
    atom = atoms.detach()[2]
    assert float(torch.nn.functional.cosine_similarity(X, atom[None]).max()) == pytest.approx(1)
    assert float(torch.linalg.vector_norm(atom)) == pytest.approx(1)
    assert not steps.gram[2].any()
    assert not steps.gram[:, 2].any()
    assert not steps.cross[2].any()
    assert steps.idle[2] == 0


def test_atoms_in_use_are_never_replaced():
    X, codes = rows_and_codes()
    steps, _ = steps_of(atom_norm=1.0)
    run(steps, X, codes + 0.1, [40] * 5)
    assert steps.report() == {"n_replaced": 0}


def test_the_history_counts_replaced_atoms(X):
    X = X.copy()
    X[:, 9] = 0  # and the first atom points there
    model = small(init=np.vstack([np.eye(10)[9], X[:5]]), max_iter=10).fit(X)
    assert sum(model.history_["n_replaced"]) >= 1
    assert model.n_dead_ == 0
    assert small(max_iter=2).fit(X).history_["n_replaced"] == [0, 0]


# ------------------------------------------------------------------------------------------------- runs and refusals

KINDS = {
    "SDL": small,
    "WDL": lambda **kw: small(WeightDecayDictionaryLearning, **kw),
    "VDL": lambda **kw: small(VarianceDictionaryLearning, **{"optimizer": OnlineUpdate(), **kw}),
    "SDL with an encoder": lambda **kw: small(encoder="lista", **{"optimizer": OnlineUpdate(), **kw}),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def make(request):
    return request.param


def assert_same(model, expected):
    for name, array in expected.params_.items():
        np.testing.assert_array_equal(model.params_[name], array)
    assert model._train_state.keys() == expected._train_state.keys()
    for name, array in expected._train_state.items():
        np.testing.assert_array_equal(model._train_state[name], array)


def test_a_killed_fit_goes_on_bitwise(make, X, tmp_path, meddle):
    def kill(session):
        if session.n_epochs == 2:
            raise SystemExit

    with meddle(kill), pytest.raises(SystemExit):
        make().fit(X, checkpoint=tmp_path / "run")
    assert_same(make().fit(X, checkpoint=tmp_path / "run"), make().fit(X))


def test_a_warm_start_goes_on_where_the_fit_ended(make, X):
    """With rates that no schedule changes, two fits are one of as many epochs."""
    twice = make(max_iter=2, warm_start=True).fit(X).fit(X)
    assert_same(twice, make().fit(X))


def test_streams_and_partial_fits_learn(make, X):
    stream = make(max_iter=10).fit_stream([X[:100], X[100:]])
    partial = make()
    for _ in range(10):
        for chunk in np.split(X, 3):
            partial.partial_fit(chunk)
    for model in (stream, partial):
        assert model.history_["reconstruction"][-1] < 0.7 * model.history_["reconstruction"][0]
        assert np.isfinite(model.transform(X)).all()
    assert partial._train_state["optimizer.online.rows"][0] == 3000


def test_double_precision_stays(make, X):
    model = make().fit(X.astype(np.float64))
    assert all(array.dtype == np.float64 for array in model.params_.values())
    assert model.transform(X.astype(np.float64)).dtype == np.float64
    assert model._train_state["optimizer.online.gram"].dtype == np.float64
    np.testing.assert_allclose(model.components_, make().fit(X).components_, rtol=0.05, atol=0.05)


def test_an_automatic_fit_without_encoder_is_online(X):
    assert_same(small(optimizer=OnlineUpdate()).fit(X), small().fit(X))


def test_a_decoder_that_is_not_linear_is_refused(X):
    for decoder in ("mlp", MLP((5,))):
        with pytest.raises(ValueError, match="OnlineUpdate moves the atoms of a linear decoder"):
            small(decoder=decoder, optimizer=OnlineUpdate()).fit(X)


def test_an_encoder_is_trained_beside_the_atoms(X):
    with_adam = OnlineUpdate(encoder_optimizer=Adam(1e-2))
    model = small(encoder="lista", optimizer=with_adam, max_iter=20).fit(X)
    assert model.history_["coupling"][-1] < 0.5 * model.history_["coupling"][0]


@pytest.mark.parametrize(
    "part", [OnlineUpdate(0.0), OnlineUpdate(damping=-1.0), OnlineUpdate(encoder_optimizer="adam")]
)
def test_settings_out_of_range_are_refused(part, X):
    with pytest.raises(ValueError, match="OnlineUpdate"):
        small(optimizer=part).fit(X)
