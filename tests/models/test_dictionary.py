"""The dictionary model asks its decoder for the inference problem and its penalty for the energy."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from skvardict import StandardDictionaryLearning
from skvardict.energies import L1, ElasticNet, GroupLasso, LinearProblem, Penalty, VarianceHinge
from skvardict.models import DictionaryModel
from skvardict.networks import AffineDecoder, LinearDecoder, MLPDecoder, reconstruction_loss
from skvardict.objectives import DictionaryObjective
from skvardict.solvers import FISTA

N, L, D = 30, 8, 12
SOLVER = FISTA(max_iter=20_000, tol=1e-10)


def _rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X = _rand(N, D)


def _decoder(kind=LinearDecoder, *sizes):
    return kind(L, D, *sizes, torch.Generator().manual_seed(1)).double()


def _model(penalty, decoder=None, beta=0.0):
    decoder = _decoder() if decoder is None else decoder
    return DictionaryModel(decoder, None, L, SOLVER, penalty, VarianceHinge(beta, 0.5))


@dataclass(frozen=True)
class Ball(Penalty):
    """Half the squared norm, a penalty that the package does not know."""

    alpha: float
    name = "ball"

    @property
    def curvature(self):
        return self.alpha

    def measure(self, codes):
        return codes.square().sum(-1) / 2

    def prox(self, point, step):
        return point / (1 + step * self.alpha)

    def dual_norm(self, gradient):
        raise AssertionError("only a duality gap needs it, which nothing here asks for")


def test_a_penalty_of_the_user_reaches_the_solver_and_the_reported_energies():
    model = _model(Ball(0.3))
    codes = model.infer(X).codes
    atoms = model.decoder.components.detach()
    ridge = torch.linalg.solve(2 / D * atoms @ atoms.T + 0.3 * torch.eye(L).double(), 2 / D * atoms @ X.T).T
    torch.testing.assert_close(codes, ridge, rtol=0, atol=1e-6)

    with torch.no_grad():
        terms = {name: float(value.mean()) for name, value in model.energy_terms(X, codes).items()}
    expected = float((X - codes @ atoms).square().mean() + 0.15 * codes.square().sum(1).mean())
    assert model.energy(terms) == pytest.approx(expected)
    assert float(model.problem(X, None).energy(codes).mean()) == pytest.approx(expected)


@pytest.mark.parametrize("penalty", [Ball(0.3), ElasticNet(0.1), GroupLasso(0.1, 4)], ids=lambda p: p.name)
@pytest.mark.parametrize("beta", [0.0, 10.0])
def test_a_penalty_is_part_of_the_training_and_validation_energies(penalty, beta):
    objective = DictionaryObjective(_model(penalty, beta=beta), N, None)
    codes = objective.model.solve(X, None, in_training=True).codes
    _, sums, _ = objective.step(X, torch.Generator())
    trained = objective.summarize(sums, validation=False)
    problem = objective.model.problem(X, None, in_training=True)
    assert trained["energy"] == pytest.approx(float(problem.energy(codes).mean()))

    codes = objective.model.infer(X).codes
    validated = objective.summarize(objective.evaluate(X), validation=True)
    problem = objective.model.problem(X, None, in_training=True)
    assert validated["validation_energy"] == pytest.approx(float(problem.energy(codes).mean()))


def test_a_decoder_with_an_offset_equals_one_without_on_centred_rows():
    mean = _rand(D, seed=5)
    affine, linear = _decoder(AffineDecoder), _decoder()
    affine.offset.copy_(mean)
    found, expected = (_model(L1(0.1), decoder).infer(rows) for decoder, rows in ((affine, X), (linear, X - mean)))
    torch.testing.assert_close(found.codes, expected.codes)
    torch.testing.assert_close(found.energy, expected.energy)
    loss = reconstruction_loss(affine, found.codes, X)
    torch.testing.assert_close(loss, nn.functional.mse_loss(affine(found.codes), X))


def test_an_offset_counts_in_fit():
    """Ignored in inference and loss, it left an error of 5.9 where the same atoms allow 0.6."""
    rows = (_rand(400, 4, seed=1).relu() @ _rand(4, 16, seed=2) / 2 + 0.7 * _rand(400, 16, seed=3) + 3).float()

    def centred(n_features, n_components):
        decoder = AffineDecoder(n_components, n_features, torch.Generator().manual_seed(0))
        decoder.offset.fill_(3.0)
        return decoder

    model = StandardDictionaryLearning(
        8, decoder=centred, encoder=None, init="random", max_iter=30, early_stopping=False, random_state=0
    )
    codes = model.fit(rows.numpy()).transform(rows.numpy())
    assert model.history_["reconstruction"][-1] < 0.7
    error = np.square(model.inverse_transform(codes) - rows.numpy()).mean()
    assert error == pytest.approx(model.history_["reconstruction"][-1], rel=0.1)


class Plain(nn.Module):
    """A decoder of the user: nothing but `forward`."""

    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, codes):
        return self.decoder(codes)


@pytest.mark.parametrize("decoder", [_decoder(), _decoder(AffineDecoder)], ids=["linear", "affine"])
def test_a_module_without_a_problem_of_its_own_is_differentiated(decoder):
    model, own = _model(L1(0.05), Plain(decoder)), _model(L1(0.05), decoder)
    assert not isinstance(model.problem(X, None), LinearProblem)
    torch.testing.assert_close(model.infer(X).energy, own.infer(X).energy, rtol=1e-6, atol=1e-8)
    codes = own.infer(X).codes
    torch.testing.assert_close(
        reconstruction_loss(model.decoder, codes, X), reconstruction_loss(decoder, codes, X), rtol=1e-9, atol=1e-12
    )


def test_codes_of_a_decoder_with_hidden_layers_start_off_zero():
    problem = _model(L1(0.01), _decoder(MLPDecoder, (10,))).problem(X, None)
    assert problem.first_code > 0
    assert problem.gradient(torch.full((N, L), problem.first_code).double()).any()
