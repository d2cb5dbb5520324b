"""Encoders of posteriors and convolutional networks: shapes of the published ones, seeds, errors."""

import numpy as np
import pytest
import torch

from skvardict._utils.random import make_generator, private_global_generator
from skvardict.networks import (
    MLP,
    Conv,
    MLPEncoder,
    ResidualMLP,
    ResidualMLPEncoder,
    ResNet,
    ResNetEncoder,
    build_decoder,
    build_posterior_encoder,
)

SHAPES = {"conv": (1, 12, 8), "fmnist": (1, 28, 28), "celeba": (3, 64, 64)}


def part(network, shape):
    parts = {"mlp": MLP((9,)), "residual_mlp": ResidualMLP((9,)), "resnet": ResNet((9,))}
    return parts.get(network) or Conv(shape, network=network)


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


def test_residual_perceptron_follows_its_recursion():
    with private_global_generator(make_generator(0)):
        made = ResidualMLPEncoder(4, 6, (5, 5))
    X = torch.randn(3, 4, generator=make_generator(0))
    hidden = made.skips[0](X) + made.layers[0](X).relu()
    hidden = hidden + made.layers[1](hidden).relu()
    torch.testing.assert_close(made(X), made.output(hidden))
    assert made.skips[0].bias is None


def block_of_he(h, first, second, shortcut=None):
    """Figure 2 of He et al., with the projection of equation 2: two layers, the sum, then the last ReLU; in numpy."""

    def normalized(h, layer):
        weight, gain, bias = layer
        a = h @ weight.T
        return gain * (a - a.mean(0)) / np.sqrt(a.var(0) + 1e-5) + bias

    branch = normalized(np.maximum(normalized(h, first), 0), second)
    return np.maximum(branch + (h if shortcut is None else normalized(h, shortcut)), 0)


def test_resnet_has_the_blocks_of_he_et_al():
    """Two layers a block, a norm after each, ReLU after the sum, a projection where the width changes (option B)."""
    with private_global_generator(make_generator(0)):
        made = ResNetEncoder(4, 6, (5, 5)).double()
    for weight in made.parameters():  # gains and biases start at 1 and 0
        torch.nn.init.normal_(weight, generator=make_generator(weight.numel()))
    X = torch.randn(30, 4, generator=make_generator(0), dtype=torch.float64)
    arrays = {name: value.detach().numpy() for name, value in made.named_parameters()}

    def layer(name):
        return arrays[f"{name}.0.weight"], arrays[f"{name}.1.weight"], arrays[f"{name}.1.bias"]

    hidden = block_of_he(X.numpy(), layer("0.first"), layer("0.second"), layer("0.shortcut"))
    hidden = block_of_he(hidden, layer("1.first"), layer("1.second"))
    expected = hidden @ arrays["2.weight"].T + arrays["2.bias"]
    np.testing.assert_allclose(made(X).detach(), expected, atol=1e-12)
    assert sum(name.endswith("0.weight") for name in arrays) == 5  # four layers and one projection


def test_rows_of_a_resnet_are_independent_in_evaluation_and_one_row_can_be_trained():
    made = encoder("resnet", (1, 12, 8))
    X = torch.randn(8, 96, generator=make_generator(0))
    before = made(X[:1])  # one row has no variance: running averages stand in
    assert torch.isfinite(before).all()
    made(X)
    made.eval()
    torch.testing.assert_close(made(X)[:2], made(X[:2]))


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


@pytest.mark.parametrize("network", ["mlp", "residual_mlp", "resnet", "conv"])
def test_the_seed_decides_the_weights(network):
    weights = [next(encoder(network, (1, 12, 8), seed=seed).parameters()) for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
