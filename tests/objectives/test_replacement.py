"""Atoms that no code uses get a new direction in automatic fits: which, when, to what, and in resumed runs."""

import numpy as np
import pytest
import torch

from skvardict import StandardDictionaryLearning, WeightDecayDictionaryLearning
from skvardict.energies import L1, VarianceHinge
from skvardict.models import DictionaryModel
from skvardict.networks import MLP, LinearDecoder, LISTAEncoder
from skvardict.objectives import Replacement
from skvardict.solvers import FISTA
from skvardict.training import Adam, Position

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*mean square of X:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*components were never active:UserWarning"),
]
L, D = 4, 6


def model():
    generator = torch.Generator().manual_seed(0)
    decoder, encoder = LinearDecoder(L, D, generator), LISTAEncoder(D, L, generator=generator)
    return DictionaryModel(decoder, encoder, L, FISTA(), L1(0.1, True), VarianceHinge(0.0, 0.5))


def batch(n=20):
    generator = torch.Generator().manual_seed(1)
    codes = torch.rand(n, L, generator=generator)
    codes[:, 2] = 0
    return torch.randn(n, D, generator=generator), codes


def replaced(n_rows_before=32, step=0, epoch=0.0, norm=None, positive=False):
    """Return a replacement with component 2 idle for so many rows, after its turn, and its atoms before."""
    replacement = Replacement(model(), batch_rows=20)
    replacement.idle[2] = n_rows_before
    before = replacement.model.decoder.components.detach().clone()
    generator = torch.Generator().manual_seed(2)
    replacement.replace_(Position(step, epoch, 10), *batch(), generator, norm, positive)
    return replacement, before


def test_rows_without_activity_are_counted_per_component():
    replacement = Replacement(model(), batch_rows=20)
    _, codes = batch()
    replacement.count(codes)
    replacement.count(codes[:7])
    assert replacement.idle.tolist() == [0, 0, 27, 0]
    codes[3, 2] = 0.1
    replacement.count(codes)
    assert replacement.idle.tolist() == [0, 0, 0, 0]


def test_an_idle_atom_becomes_what_is_left_of_a_row():
    replacement, before = replaced()
    after = replacement.model.decoder.components.detach()
    X, codes = batch()
    left = X - codes @ before
    likeness = torch.nn.functional.cosine_similarity(left, after[2][None])
    assert float(likeness.max()) == pytest.approx(1, abs=1e-5)
    others = [0, 1, 3]
    assert torch.equal(after[others], before[others])
    norms = torch.linalg.vector_norm(before[others], dim=1)
    assert float(torch.linalg.vector_norm(after[2])) == pytest.approx(float(norms.median()), rel=1e-5)
    assert (replacement.report(), replacement.report()) == (1, 0)
    assert replacement.idle[2] == 0


@pytest.mark.parametrize("positive", [False, True])
def test_norm_and_sign_are_kept(positive):
    after = replaced(norm=2.5, positive=positive)[0].model.decoder.components.detach()
    assert float(torch.linalg.vector_norm(after[2])) == pytest.approx(2.5)
    assert not positive or float(after[2].min()) >= 0


@pytest.mark.parametrize(
    "case", [{"n_rows_before": 31}, {"epoch": 8.0}, {"step": 0, "epoch": 9.9}], ids=["in use", "at 0.8", "at the end"]
)
def test_atoms_in_use_and_the_end_of_training_are_left_alone(case):
    replacement, before = replaced(**case)
    assert torch.equal(replacement.model.decoder.components, before)
    assert replacement.report() == 0


def test_the_encoder_answers_to_the_new_atom_as_to_the_others():
    replacement, before = replaced()
    after, encoder = replacement.model.decoder.components.detach(), replacement.model.encoder.requires_grad_(False)
    fresh = model().encoder.requires_grad_(False)
    others = [0, 1, 3]
    shares = [float(fresh.input[:, j] @ before[j] / before[j].square().sum()) for j in others]
    torch.testing.assert_close(encoder.input[:, 2], after[2] * sorted(shares)[1])
    assert not encoder.recurrent[2].any()
    assert not encoder.recurrent[:, 2].any()
    assert torch.equal(encoder.input[:, others], fresh.input[:, others])
    assert torch.equal(encoder.recurrent[others][:, others], fresh.recurrent[others][:, others])


def planted():
    """Rows of ten directions, and a penalty at which many of 30 atoms fall idle."""
    generator = np.random.default_rng(0)
    codes = np.maximum(generator.standard_normal((600, 10)) - 1, 0)
    X = codes @ generator.standard_normal((10, 12))
    return (X / np.sqrt((X**2).mean())).astype(np.float32)


def make(**parameters):
    settings = {"n_components": 30, "alpha": 0.2, "max_iter": 12, "batch_size": 50, "random_state": 0}
    return WeightDecayDictionaryLearning(**{**settings, **parameters})


def test_automatic_fits_count_what_they_replace_in_the_history():
    history = make().fit(planted()).history_
    assert sum(history["n_replaced"]) > 0
    assert sum(history["n_replaced"][-2:]) == 0  # left alone at the end


@pytest.mark.parametrize(
    "parameters", [{"optimizer": Adam(1e-3)}, {"decoder": MLP((8,))}, {"encoder": MLP((8,))}], ids=str
)
def test_other_fits_replace_nothing(parameters):
    assert "n_replaced" not in make(max_iter=2, **parameters).fit(planted()).history_


def test_a_killed_fit_goes_on_bitwise(tmp_path, meddle):
    X, expected = planted(), make().fit(planted())
    assert sum(expected.history_["n_replaced"][5:]) > 0

    def kill(session):
        if session.n_epochs == 5:
            raise OSError("killed")

    with meddle(kill, before="epoch"), pytest.raises(OSError, match="killed"):
        make().fit(X, checkpoint=tmp_path / "run")
    model = make().fit(X, checkpoint=tmp_path / "run")
    assert model.resumed_epoch_ == 5
    for name, array in expected.params_.items():
        np.testing.assert_array_equal(model.params_[name], array)
    assert model.history_["n_replaced"] == expected.history_["n_replaced"]


def test_partial_fits_follow_and_precede_automatic_fits():
    X = planted()
    model = make(warm_start=True).fit(X).partial_fit(X)
    assert np.isnan(model.history_["n_replaced"][-1])
    assert np.isfinite(model.fit(X).history_["n_replaced"][-1])


def test_rows_that_are_all_alike_replace_nothing_that_is_rebuilt_exactly():
    model = StandardDictionaryLearning(3, max_iter=2, random_state=0).fit(np.ones((40, 5)))
    assert np.isfinite(model.components_).all()
