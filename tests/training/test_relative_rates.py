"""Rates in units of the first weights, which a continued model keeps."""

import numpy as np
import pytest
import torch

from skvardict import StandardDictionaryLearning, VarianceDictionaryLearning
from skvardict.training import Adam, CosineRate
from skvardict.training.protocol import ParameterGroup, Position

pytestmark = pytest.mark.filterwarnings("ignore:.*mean square of X:UserWarning")


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).standard_normal((120, 10)).astype(np.float32)


@pytest.fixture
def rates(meddle):
    """Returns a function that calls another and returns the rates of the first step in it, of every tensor."""

    def look(call):
        seen = []

        def record(session):
            groups = session.steps.groups
            seen.append([group["lr"] for group in groups for _ in group["params"]])

        with meddle(record):
            call()
        return seen[0]

    return look


def uniform(bound, *shape):
    return (2 * torch.rand(*shape, generator=torch.Generator().manual_seed(0)) - 1) * bound


def group_of(**tensors):
    parameters = {name: torch.nn.Parameter(tensor) for name, tensor in tensors.items()}
    return ParameterGroup("decoder", parameters)


def rates_of(steps):
    return [group["lr"] for group in steps.groups]


@pytest.mark.parametrize("bound", [1e-3, 0.5, 40.0])
def test_the_rate_of_a_matrix_is_that_of_the_bound_it_was_drawn_from(bound):
    steps = Adam(0.1, relative=True).start([group_of(weight=uniform(bound, 300, 200))])
    assert rates_of(steps) == [pytest.approx(0.1 * bound, rel=0.01)]


def test_biases_have_the_rate_of_the_matrix_before_them():
    groups = [group_of(first=uniform(2, 50, 50), bias=torch.ones(50), second=uniform(3, 50, 50), raw=torch.zeros(50))]
    first, bias, second, raw = rates_of(Adam(0.1, relative=True).start(groups))
    assert (bias, raw) == (first, second)
    assert second / first == pytest.approx(1.5)


def test_weights_of_zero_have_the_plain_rate():
    assert rates_of(Adam(0.1, relative=True).start([group_of(weight=torch.zeros(3, 3))])) == [0.1]


def test_rates_are_absolute_unless_asked_for():
    assert rates_of(Adam(0.1).start([group_of(weight=uniform(7, 3, 3), bias=torch.ones(3))])) == [0.1]


def test_a_schedule_multiplies_relative_rates():
    steps = Adam(0.1, relative=True, schedule=CosineRate(0.1, start=0.1)).start([group_of(weight=uniform(2, 300, 200))])
    steps.advance(Position(0, 0.0, 10))
    assert rates_of(steps) == [pytest.approx(0.1 * 0.1 * 2, rel=0.01)]
    steps.advance(Position(0, 1.0, 10))
    assert rates_of(steps) == [pytest.approx(0.1 * 2, rel=0.01)]
    assert not steps.is_settled


def test_steps_scale_with_the_weights():
    """Adam's first step is the rate in every entry: scaled weights make the same step, scaled."""
    moved = []
    for scale in (1.0, 8.0):
        group = group_of(weight=uniform(scale, 20, 30))
        steps = Adam(0.1, relative=True).start([group])
        weight = group.parameters["weight"]
        before = weight.detach().clone()
        weight.grad = torch.ones_like(weight)
        steps.move()
        moved.append((weight.detach() - before) / scale)
    torch.testing.assert_close(moved[1], moved[0])


@pytest.mark.parametrize("estimator", [VarianceDictionaryLearning, StandardDictionaryLearning])
def test_calls_of_partial_fit_have_the_rates_of_the_first_weights(X, rates, estimator):
    """Those of the model that is built anew for every call are others: its weights were not set from the data."""
    model = estimator(6, random_state=0)
    first = rates(lambda: model.partial_fit(5 * X))
    assert rates(lambda: model.partial_fit(5 * X)) == first
    assert rates(lambda: model.partial_fit(X)) == first


def test_a_continued_fit_has_them_too(X, rates):
    model = VarianceDictionaryLearning(6, max_iter=2, random_state=0, warm_start=True)
    first = rates(lambda: model.fit(5 * X))
    assert rates(lambda: model.fit(5 * X)) == first


def test_another_rate_acts_on_a_continued_model(X, rates):
    def part(rate, **kw):
        return Adam(rate, encoder_learning_rate=0.05, relative=True, **kw)

    model = VarianceDictionaryLearning(6, optimizer=part(0.2), random_state=0)
    first = rates(lambda: model.partial_fit(X))
    second = rates(lambda: model.set_params(optimizer=part(0.1)).partial_fit(X))
    np.testing.assert_allclose(second, [first[0] / 2, *first[1:]])


def test_a_model_may_go_on_with_absolute_rates_and_back(X, rates):
    model = VarianceDictionaryLearning(6, random_state=0).partial_fit(X)
    absolute = Adam(1e-3, encoder_learning_rate=1e-4)
    assert rates(lambda: model.set_params(optimizer=absolute).partial_fit(X)) == [1e-3, 1e-4, 1e-4, 1e-4]
    assert rates(lambda: model.set_params(optimizer="auto").partial_fit(X))[0] > 0.01
