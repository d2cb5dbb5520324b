"""Steps are those of torch's optimisers, bit by bit, without their classes; stacked models step like single ones."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from skvardict.training import SGD, Adam
from skvardict.training.protocol import ParameterGroup, Position

ROOT = Path(__file__).resolve().parents[2]
SHAPES = {"weight": (5, 4), "bias": (4,)}
ADAMS = {
    "plain": Adam(1e-2),
    "decay": Adam(1e-2, encoder_learning_rate=3e-3, weight_decay=0.1, encoder_bias_decay=0.3),
    "betas": Adam(1e-2, betas=(0.0, 0.9), schedule=lambda position: 1 / (1 + position.step)),
}
SGDS = {
    "momentum": SGD(1e-2, nesterov=False, max_grad_norm=None),
    "nesterov": SGD(1e-2, momentum=0.5, encoder_learning_rate=3e-3, weight_decay=0.1, max_grad_norm=None),
    "none": SGD(1e-2, momentum=0.0, bias_decay=0.2, max_grad_norm=None),
    "bounded": SGD(1e-2, max_grad_norm=0.5),
    "dictionary": SGD(1e-2, dictionary_learning_rate=0.5, weight_decay=0.1),
}
ALL = {**ADAMS, **SGDS}


def groups_of(seed, dtype=torch.float64, members=()):
    generator = torch.Generator().manual_seed(seed)

    def draw(shape):
        return torch.nn.Parameter(torch.randn(*members, *shape, generator=generator, dtype=dtype))

    atoms = ParameterGroup("decoder", {"components": draw((4, 6))}, weight_decay=0.05, is_dictionary=True)
    return [atoms, ParameterGroup("encoder", {name: draw(shape) for name, shape in SHAPES.items()})]


def tensors_of(groups):
    return [tensor for group in groups for tensor in group.parameters.values()]


def set_gradients(tensors, seed):
    generator = torch.Generator().manual_seed(seed)
    for tensor in tensors:
        tensor.grad = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)


def make_steps(steps, groups, seeds):
    for seed in seeds:
        steps.advance(Position(seed, 0.0, 1))
        set_gradients(tensors_of(groups), seed)
        if seed % 3 == 2:  # a tensor that a batch leaves out
            tensors_of(groups)[1].grad = None
        bounded_move(steps)


def bounded_move(steps):
    for parameters, norm in steps._bounded:
        torch.nn.utils.clip_grad_norm_(parameters, norm)
    steps.move()


def of_torch(settings, steps):
    """Return torch's optimiser on the groups of `steps`."""
    groups = [dict(group) for group in steps.groups]
    if isinstance(settings, Adam):
        return torch.optim.Adam(groups, betas=settings.betas, fused=True)
    return torch.optim.SGD(groups, lr=1.0, fused=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ALL)
def test_steps_are_those_of_torch_bit_by_bit(name, dtype):
    ours, theirs = groups_of(0, dtype), groups_of(0, dtype)
    steps, reference = ALL[name].start(ours), ALL[name].start(theirs)
    optimizer = of_torch(ALL[name], reference)
    make_steps(steps, ours, range(12))
    for seed in range(12):
        reference.advance(Position(seed, 0.0, 1))
        for group, scheduled in zip(optimizer.param_groups, reference.groups, strict=True):
            group["lr"] = scheduled["lr"]
        set_gradients(tensors_of(theirs), seed)
        if seed % 3 == 2:
            tensors_of(theirs)[1].grad = None
        for parameters, norm in reference._bounded:
            torch.nn.utils.clip_grad_norm_(parameters, norm)
        optimizer.step()
    for one, other in zip(tensors_of(ours), tensors_of(theirs), strict=True):
        assert torch.equal(one, other)
    state = {
        f"{index}.{key}": value.numpy()
        for index, values in optimizer.state_dict()["state"].items()
        for key, value in values.items()
        if value is not None
    }
    arrays = steps.to_arrays()
    assert arrays.keys() - {"bounds"} == state.keys()
    for key, value in state.items():
        np.testing.assert_array_equal(arrays[key], value, strict=True)


@pytest.mark.parametrize("name", ALL)
def test_losses_are_descended_together(name):
    """One backward pass for all losses, gradients bounded by part, and none left behind."""
    groups = groups_of(1)
    steps, expected = ALL[name].start(groups), groups_of(1)
    reference = ALL[name].start(expected)
    targets = [torch.ones_like(tensor) for tensor in tensors_of(groups)]
    for _ in range(3):
        steps.descend([(tensor - target).square().sum() for tensor, target in zip(tensors_of(groups), targets)])
        for tensor, target in zip(tensors_of(expected), targets, strict=True):
            tensor.grad = 2 * (tensor.detach() - target)
        bounded_move(reference)
    for one, other in zip(tensors_of(groups), tensors_of(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
        assert one.grad is None


@pytest.mark.parametrize("name", ALL)
def test_state_goes_through_arrays(name):
    groups, resumed = groups_of(2, torch.float32), groups_of(3, torch.float32)
    steps, other = ALL[name].start(groups), ALL[name].start(resumed)
    make_steps(steps, groups, range(5))
    other.load_arrays(steps.to_arrays())
    with torch.no_grad():
        for tensor, source in zip(tensors_of(resumed), tensors_of(groups), strict=True):
            tensor.copy_(source)
    make_steps(steps, groups, range(5, 9))
    make_steps(other, resumed, range(5, 9))
    for one, two in zip(tensors_of(groups), tensors_of(resumed), strict=True):
        assert torch.equal(one, two)
    named = {key: shape for shapes in steps.state_shapes() for key, shape in shapes.items()}
    assert {key: array.shape for key, array in steps.to_arrays().items()}.items() <= named.items()


@pytest.mark.parametrize("name", ALL)
def test_stacked_models_with_rates_of_their_own_step_like_single_ones(name):
    """Rates, decays and bounds of shape (M,); rounding differs, since a fused step orders its products otherwise."""
    n_members, factors = 3, torch.tensor([1.0, 0.1, 7.0], dtype=torch.float64)
    stacked = groups_of(4, members=(n_members,))
    steps = ALL[name].start(stacked)
    singles = [groups_of(4) for _ in range(n_members)]
    alone = [ALL[name].start(groups) for groups in singles]
    with torch.no_grad():
        for member, groups in enumerate(singles):
            for tensor, source in zip(tensors_of(groups), tensors_of(stacked), strict=True):
                tensor.copy_(source[member])
    for settings in ("lr", "initial_lr", "weight_decay"):
        for group in steps.groups:
            group[settings] = group[settings] * factors
        for member, own in enumerate(alone):
            for group in own.groups:
                group[settings] = group[settings] * float(factors[member])
    norms = torch.tensor([1.0, 0.1, 100.0], dtype=torch.float64)  # two that bound, and one that does not
    steps._bounded = [(parameters, norm * norms) for parameters, norm in steps._bounded]
    for member, own in enumerate(alone):
        own._bounded = [(parameters, norm * float(norms[member])) for parameters, norm in own._bounded]
    weights = torch.arange(1, n_members + 1, dtype=torch.float64)
    for step in range(10):
        position = Position(step, 0.0, 1)
        for own in (steps, *alone):
            own.advance(position)
        steps.descend([(weights * tensor.cos().flatten(1).sum(1)) for tensor in tensors_of(stacked)])
        for member, (own, groups) in enumerate(zip(alone, singles, strict=True)):
            own.descend([weights[member] * tensor.cos().sum() for tensor in tensors_of(groups)])
    for member, groups in enumerate(singles):
        for tensor, source in zip(tensors_of(groups), tensors_of(stacked), strict=True):
            torch.testing.assert_close(source[member], tensor, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("n_features", [12, 256, 784])
def test_the_decay_of_a_dictionary_is_that_of_the_paper_at_any_number_of_features(n_features):
    """``A += eta (mean(r z^T) - 2 kappa A)`` (Fallah & Rozell, appendix C), written out beside one step."""
    generator = torch.Generator().manual_seed(0)
    Z, A, X = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((9, 4), (4, n_features), (9, n_features))
    )
    eta, kappa = 0.02, 3e-3
    atoms = torch.nn.Parameter(A.clone())
    groups = [ParameterGroup("decoder", {"components": atoms}, is_dictionary=True)]
    steps = SGD(dictionary_learning_rate=eta, dictionary_weight_decay=kappa).start(groups)
    (X - Z @ atoms).square().mean(1).mean().backward()
    steps.move()
    expected = A + eta * (Z.mT @ (X - Z @ A) / len(X) - 2 * kappa * A)
    torch.testing.assert_close(atoms.detach(), expected, rtol=1e-12, atol=1e-12)


def test_a_tensor_of_two_parts_is_refused():
    shared = torch.nn.Parameter(torch.ones(3, 3))
    with pytest.raises(ValueError, match="belongs to decoder and encoder"):
        Adam().start([ParameterGroup("decoder", {"weight": shared}), ParameterGroup("encoder", {"weight": shared})])


def test_a_fit_does_not_import_the_compiler_of_torch():
    """Its two seconds and 80 MB would come with torch's optimiser classes, in every process anew."""
    program = """
        import sys, warnings
        import numpy as np
        from skvardict import *
        from skvardict.evaluation import LISTAClassifier
        from skvardict.training import SGD

        warnings.simplefilter("ignore")
        X = np.random.default_rng(0).standard_normal((60, 6)).astype(np.float32)
        for coder in (VarianceDictionaryLearning, StandardDictionaryLearning, SparseVAE, ThresholdedVSC):
            coder(4, max_iter=1, random_state=0).fit(X).transform(X)
        VarianceDictionaryLearning(4, optimizer=SGD(), max_iter=1).fit(X)
        LISTAClassifier(4, max_updates=2).fit(X, np.arange(60) % 2)
        print([name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"
