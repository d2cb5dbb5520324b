"""Networks against their written recursions."""

import pytest
import torch

from skvardict._utils.random import make_generator
from skvardict.energies import reconstruction
from skvardict.networks import LISTAEncoder, MLPDecoder, build_code_encoder, build_decoder, constrain_atoms_


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_lista_follows_its_recursion():
    encoder = LISTAEncoder(5, 4, generator=_generator())
    X = torch.randn(3, 5, generator=_generator(1))
    drive = X @ encoder.input + encoder.bias
    codes = drive.relu()
    for _ in range(3):
        codes = (drive + codes @ encoder.recurrent).relu()
    torch.testing.assert_close(encoder(X), codes)


def test_initial_weights_have_the_papers_column_norms():
    decoder = build_decoder("linear", 784, 128, generator=_generator())
    assert decoder.components.detach().norm(dim=1).mean().item() == pytest.approx(1.43, abs=0.01)
    mlp = MLPDecoder(128, 784, (1024,), _generator())
    assert mlp.weights[0].detach().norm(dim=1).mean().item() == pytest.approx(1.64, abs=0.01)
    assert mlp.weights[1].detach().norm(dim=1).mean().item() == pytest.approx(0.51, abs=0.01)


def test_lipschitz_bound_equals_the_product_of_spectral_norms():
    decoder = MLPDecoder(6, 16, (20, 12), _generator()).double()
    expected = torch.stack([torch.linalg.matrix_norm(w.detach(), 2) ** 2 for w in decoder.weights]).prod()
    torch.testing.assert_close(decoder.lipschitz_squared(), expected, rtol=1e-10, atol=0)


def test_tracked_norm_follows_the_product_of_the_weights():
    decoder = MLPDecoder(6, 16, (20, 12), _generator()).double()
    for _ in range(10):
        with torch.no_grad():
            for weight in decoder.weights:
                weight.add_(0.01 * torch.randn(weight.shape, generator=_generator(1), dtype=weight.dtype))
        expected = torch.linalg.matrix_norm(decoder.atoms().detach(), 2) ** 2
        torch.testing.assert_close(decoder.tracked_norm_squared(), expected, rtol=0.02, atol=0)


def test_gradient_in_the_codes_equals_autograd():
    decoder = MLPDecoder(6, 16, (20, 12), _generator()).double()
    with torch.no_grad():
        for bias in decoder.biases:
            bias.uniform_(-0.5, 0.5, generator=_generator(2))
    codes = torch.randn(9, 6, generator=_generator(3), dtype=torch.float64).requires_grad_()
    X = torch.randn(9, 16, generator=_generator(4), dtype=torch.float64)
    (expected,) = torch.autograd.grad(reconstruction(X, decoder(codes)).sum(), codes)
    torch.testing.assert_close(decoder.reconstruction_gradient(codes, X), expected, rtol=1e-9, atol=1e-12)


def test_atoms_of_one_hidden_layer_leave_biases_and_relus_out():
    decoder = MLPDecoder(6, 16, (20,), _generator())
    torch.testing.assert_close(decoder.atoms(), decoder.weights[0] @ decoder.weights[1])


def test_normalisation_leaves_zero_rows_alone():
    matrix = torch.randn(4, 3, generator=_generator())
    matrix[2] = 0
    constrain_atoms_([matrix], 2.0)
    torch.testing.assert_close(matrix.norm(dim=1), torch.tensor([2.0, 2.0, 0.0, 2.0]))


def test_builders_are_seeded_and_leave_the_global_generator_alone():
    state = torch.get_rng_state()
    built = [build_code_encoder(torch.nn.Linear, 5, 4, positive=True, generator=_generator(7)) for _ in range(2)]
    torch.testing.assert_close(built[0].weight, built[1].weight)
    assert torch.equal(state, torch.get_rng_state())


def test_a_builder_that_returns_no_module_is_refused():
    with pytest.raises(TypeError, match="returned int"):
        build_decoder(lambda d, k: 3, 5, 4, generator=_generator())


def test_lending_a_seed_to_a_builder_leaves_generators_of_gpus_alone(monkeypatch):
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    build_code_encoder(torch.nn.Linear, 5, 4, positive=True, generator=_generator(7))
    assert not seeded


@pytest.mark.parametrize("n_iter", [0, 1, 3])
@pytest.mark.parametrize("leading", [(), (2,)])
def test_lista_has_the_gradient_of_its_formula(n_iter, leading):
    generator = make_generator(0)
    encoder = LISTAEncoder(5, 4, n_iter=n_iter, generator=generator).double()
    shapes = {"input": (5, 4), "recurrent": (4, 4), "bias": (1, 4) if leading else (4,)}
    for name, shape in shapes.items():
        values = torch.randn(*leading, *shape, generator=generator, dtype=torch.float64)
        setattr(encoder, name, torch.nn.Parameter(values))
    X = torch.randn(*leading, 7, 5, generator=generator, dtype=torch.float64).requires_grad_()
    drive = X @ encoder.input + encoder.bias
    codes = drive.relu()
    for _ in range(n_iter):
        codes = (drive + codes @ encoder.recurrent).relu()
    torch.testing.assert_close(encoder(X), codes)
    weights = torch.randn(codes.shape, generator=generator, dtype=torch.float64)
    inputs = [X, encoder.input, encoder.bias, *([encoder.recurrent] if n_iter else [])]
    expected = torch.autograd.grad((codes * weights).sum(), inputs)
    for one, other in zip(torch.autograd.grad((encoder(X) * weights).sum(), inputs), expected, strict=True):
        torch.testing.assert_close(one, other)
