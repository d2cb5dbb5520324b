"""Encoders of posteriors and convolutional networks: shapes of the published ones, seeds, errors."""

import pytest
import torch

from skvardict._utils.random import make_generator, private_global_generator
from skvardict.networks import MLP, Conv, MLPEncoder, ResidualEncoder, ResNet, build_decoder, build_posterior_encoder

SHAPES = {"conv": (1, 12, 8), "fmnist": (1, 28, 28), "celeba": (3, 64, 64)}


def part(network, shape):
    return {"mlp": MLP((9,)), "resnet": ResNet((9,))}.get(network) or Conv(shape, network=network)


def encoder(network, shape, n_outputs=10, seed=0):
    n_features = torch.Size(shape).numel()
    return build_posterior_encoder(part(network, shape), n_features, n_outputs, generator=make_generator(seed))


def decoder(network, shape, n_components=5):
    return build_decoder(part(network, shape), torch.Size(shape).numel(), n_components, generator=make_generator(0))


@pytest.mark.parametrize("network", list(SHAPES))
def test_convolutional_networks_go_from_rows_to_rows(network):
    shape = SHAPES[network]
    X = torch.rand(3, torch.Size(shape).numel(), generator=make_generator(1))
    assert encoder(network, shape)(X).shape == (3, 10)
    assert decoder(network, shape)(torch.zeros(3, 5)).shape == X.shape


def test_published_networks_have_the_published_layers():
    """Tables 4 and 5 of Fallah & Rozell: channels, kernel, stride, padding of every layer."""
    small = [m for m in encoder("fmnist", (1, 28, 28)).modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(m.out_channels, m.stride[0], m.padding[0]) for m in small] == [
        (64, 2, 1),
        (64, 2, 1),
        (128, 1, 0),
        (128, 2, 0),
    ]
    up = [m for m in decoder("fmnist", (1, 28, 28)).modules() if isinstance(m, torch.nn.ConvTranspose2d)]
    assert [(m.out_channels, m.stride[0], m.padding[0]) for m in up] == [(128, 2, 0), (64, 1, 0), (64, 2, 1), (1, 2, 1)]
    large = [m for m in encoder("celeba", (3, 64, 64)).modules() if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in large] == [64, 64, 128, 256, 256]
    assert all(m.kernel_size == (4, 4) for m in small + up + large)
    assert decoder("celeba", (3, 64, 64)).input.out_features == 1024
    assert decoder("fmnist", (1, 28, 28)).input.out_features == 128


def test_residual_encoder_follows_its_recursion():
    with private_global_generator(make_generator(0)):
        made = ResidualEncoder(4, 6, (5, 5))
    X = torch.randn(3, 4, generator=make_generator(0))
    hidden = made.skips[0](X) + made.layers[0](X).relu()
    hidden = hidden + made.layers[1](hidden).relu()
    torch.testing.assert_close(made(X), made.output(hidden))
    assert made.skips[0].bias is None


def test_mlp_encoder_is_linear_without_hidden_layers():
    with private_global_generator(make_generator(0)):
        made = MLPEncoder(4, 6, ())
    X = torch.randn(3, 4, generator=make_generator(0))
    torch.testing.assert_close(made(X), X @ made[0].weight.mT + made[0].bias)


def test_a_lent_generator_leaves_other_devices_alone(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("the generators of all devices were seeded, or a stack was rendered for it")

    for module in (torch.cuda, torch.xpu, torch.mtia, torch.mps):
        name = "manual_seed" if module is torch.mps else "manual_seed_all"
        monkeypatch.setattr(module, name, fail, raising=False)  # older releases seed fewer devices
    monkeypatch.setattr("traceback.format_stack", fail)
    before = torch.get_rng_state()
    weights = [encoder("mlp", (1, 12, 8)) for _ in range(2)]
    assert torch.equal(weights[0][0].weight, weights[1][0].weight)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
def test_a_lent_generator_gives_the_states_of_cuda_devices_back():
    torch.cuda.init()
    before = torch.cuda.get_rng_state()
    drawn = []
    for seed in (0, 0, 1):
        with private_global_generator(make_generator(seed)):
            drawn.append(torch.randn(5, device="cuda"))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.cuda.get_rng_state(), before)


@pytest.mark.parametrize("network", ["mlp", "resnet", "conv"])
def test_the_seed_decides_the_weights(network):
    weights = [next(encoder(network, (1, 12, 8), seed=seed).parameters()) for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
