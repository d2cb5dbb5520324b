"""Parts come back from JSON as they were; what is no part of the list is never made."""

import json
from typing import ClassVar

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator

from skvardict import networks, solvers, training
from skvardict.distributions import PRIORS, LocationScale, StudentT
from skvardict.estimators._files import _part_classes
from skvardict.solvers import FISTA, ISTA
from skvardict.storage.parts import MOST_NESTED, Omitted, pack_parameters, unpack_parameter


class Inner(BaseEstimator):
    def __init__(self, rate=0.1, weights=None):
        self.rate = rate
        self.weights = weights


class Outer(BaseEstimator):
    _parameter_constraints: ClassVar[dict] = {"schedule": "no_validation", "sizes": ["array-like"]}

    def __init__(self, schedule=None, sizes=()):
        self.schedule = schedule
        self.sizes = sizes


class Stranger(BaseEstimator):
    def __init__(self, command="ls"):
        raise AssertionError("a class that is not in the list was made")


CLASSES = {"Inner": Inner, "Outer": Outer, "StudentT": StudentT}


def round_trip(**parameters):
    """Return parameters after a way through JSON, and the arrays that are left over."""
    arrays = {}
    text = json.dumps(pack_parameters(parameters, arrays, CLASSES))
    return {name: unpack_parameter(value, arrays, CLASSES) for name, value in json.loads(text).items()}, arrays


@pytest.mark.parametrize(
    "value",
    [
        Inner(0.5),
        Outer(Inner(rate=float("inf")), (3, 4)),
        Outer(Outer(Inner(np.float32(0.5)), [1] * 50)),
        (Inner(1), [Outer(sizes=()), None], {"a": Inner()}),
        Inner(torch.device("cpu")),
        Inner(weights=("a", True, None)),
        StudentT(df=2),
        Outer(StudentT(scale=0.5, df=float("inf"))),
    ],
    ids=["flat", "nested", "with a long list", "in containers", "a device", "a tuple", "a law", "a law in a part"],
)
def test_parts_come_back_as_they_were(value):
    back, left = round_trip(part=value)
    assert repr(back["part"]) == repr(value).replace("np.float32(0.5)", "0.5")
    assert type(back["part"]) is type(value)
    assert not left


def test_arrays_of_parts_come_back():
    weights = np.random.default_rng(0).standard_normal((3, 4))
    back, left = round_trip(one=Outer(Inner(weights=weights)), other=Inner(weights=-weights))
    np.testing.assert_array_equal(back["one"].schedule.weights, weights)
    np.testing.assert_array_equal(back["other"].weights, -weights)
    assert not left


@pytest.mark.parametrize(
    "value",
    [lambda: 0, Outer(Inner(lambda: 0)), [1, (lambda: 0,)], Outer(schedule=FISTA()), np.random.RandomState(0)],
    ids=["a function", "in a part", "in a list", "another class in a part", "a generator"],
)
def test_what_a_file_cannot_hold_is_omitted_as_a_whole(value):
    back, left = round_trip(known=Inner(weights=np.ones(3)), part=value)
    assert isinstance(back["part"], Omitted)
    assert " at 0x" not in back["part"].description
    assert not left


def test_a_subclass_of_a_part_is_not_taken_for_the_part():
    class Inner(CLASSES["Inner"]):
        pass

    assert isinstance(round_trip(part=Inner())[0]["part"], Omitted)


def nest(depth):
    part = Inner()
    for _ in range(depth - 1):
        part = Outer(part)
    return part


def test_parts_are_nested_to_a_bounded_depth():
    assert repr(round_trip(part=nest(MOST_NESTED))[0]["part"]) == repr(nest(MOST_NESTED))
    assert isinstance(round_trip(part=nest(MOST_NESTED + 1))[0]["part"], Omitted)
    packed = {"part": {"Inner": {}}}
    for _ in range(MOST_NESTED):
        packed = {"part": {"Outer": {"schedule": packed}}}
    with pytest.raises(ValueError, match="more than 8 parts within each other"):
        unpack_parameter(packed, {}, CLASSES)


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        ({"part": {"Stranger": {}}}, "'Stranger' is not a part of this version"),
        ({"part": {"Inner": {"shell": 1}}}, "Inner has no parameters shell in this version"),
        ({"part": {"Inner": 3}}, "not a part"),
        ({"part": {"Inner": {}, "Outer": {}}}, "unknown kind"),
        ({"part": {}}, "unknown kind"),
        ({"part": {"Outer": {"sizes": 3}}}, "'sizes' parameter of Outer"),
        ({"part": {"Inner": {"rate": {"omitted": "x"}}}}, "unknown kind of value 'omitted'"),
        ({"part": {"Inner": {"weights": {"array": "x"}}}}, "missing"),
        ({"device": "nowhere"}, "not a device"),
        ({"part": {"StudentT": {"degrees": 2}}}, "StudentT has no parameters degrees in this version"),
        ({"part": {"StudentT": {"df": -1}}}, "expects df > 0"),
    ],
)
def test_what_is_no_part_is_refused(packed, said):
    with pytest.raises(ValueError, match=said):
        unpack_parameter(packed, {}, CLASSES)


def test_every_public_part_can_be_held_and_nothing_else():
    classes = _part_classes()
    assert classes.keys() >= {"FISTA", "ISTA", "ActiveSetADMM"}
    public = {name for module in (solvers, networks, training) for name in module.__all__}
    laws = {law.__name__ for law in PRIORS.values()}
    assert classes.keys() <= public | laws
    assert all(issubclass(cls, BaseEstimator if name not in laws else LocationScale) for name, cls in classes.items())
    assert classes["ISTA"] is ISTA
