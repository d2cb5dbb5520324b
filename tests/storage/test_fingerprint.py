"""What must differ has another fingerprint, what must be equal has the same one, also in another process."""

import collections
import datetime
import enum
import functools
import io
import os
import random
import subprocess
import sys
import textwrap
import threading
import types
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skvardict
from skvardict import VarianceDictionaryLearning
from skvardict.evaluation import fit_or_load
from skvardict.solvers import FISTA, ISTA
from skvardict.storage.fingerprint import fingerprint, fingerprint_parameters
from skvardict.training import CheckpointMismatchError

X = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)


# ---------------------------------------------------------------------------------------------------------- makers
# Each makes a value from one of two contents: equal contents must read equal, others not.


def closure(content):
    def build(n_features, n_components):
        return content

    return build


def keyword_default(content):
    def build(n_features, *, width=content):
        return width

    return build


def nested_closure(content):
    inner = closure(content)
    return lambda n_features: inner(n_features, 1)


def from_source(source, function="build", **known):
    """Return the function that a notebook cell would define."""
    namespace = {"__name__": "__main__"} | known
    exec(textwrap.dedent(source), namespace)
    return namespace[function]


def recursive(content):
    return from_source(f"""
        def even(n):
            return n == 0 or odd(n - 1)
        def odd(n):
            return n != 0 and even(n - {content})
        """, "even")  # fmt: skip


def with_module(content):
    module = types.ModuleType("helpers_of_the_user")
    module.layers = from_source(f"def layers(n): return n + {content}", "layers")
    module.unused = content
    return from_source("def build(n): return helpers.layers(n)", helpers=module)


class Solver:
    """A solver of the user: no estimator, no representation."""

    def __init__(self, steps):
        self.steps = steps

    def solve(self, problem):
        return self.steps


class Slotted:
    __slots__ = ("steps",)

    def __init__(self, steps):
        self.steps = steps


class Part(BaseEstimator):
    def __init__(self, inner=None, verbose=0):
        self.inner = inner
        self.verbose = verbose


class FromList(list):
    pass


@dataclass
class Settings:
    steps: int
    names: dict = field(default_factory=dict)


def own_class(content):
    return from_source(f"class Own:\n    def solve(self):\n        return {content}", "Own")


def with_nested_class(content):
    base = own_class(content)
    return types.new_class("Derived", (base,))


def colors(content):
    return enum.Enum("Colors", {"RED": content})


def moved_on(content):
    generator = np.random.RandomState(0)
    generator.random_sample(content)
    return generator


def torch_generator(content):
    return torch.Generator().manual_seed(content)


def frame(content):
    values = np.arange(3000.0).reshape(1000, 3)
    values[500, 1] = content  # pandas shows the first and last rows only
    return pd.DataFrame(values, columns=list("abc"))


def masked(content):
    return np.ma.array([1.0, 2.0], mask=[content == 1, False])


def linear(content):
    layer = torch.nn.utils.skip_init(torch.nn.Linear, 2, 2, bias=False)
    torch.nn.init.constant_(layer.weight, content)
    return layer


def cyclic(content):
    values = [content]
    values.append(values)
    return values


def method_of_list(content):
    return [content].append


MAKERS = {
    "a closure": closure,
    "a default of a keyword": keyword_default,
    "a closure in a closure": nested_closure,
    "an edited notebook function": lambda c: from_source(f"def build(n): return n * {c}"),
    "a constant of a comprehension": lambda c: from_source(f"def build(n): return [i + {c} for i in range(n)]"),
    "a constant of an inner function": lambda c: from_source(f"def build(n):\n    def f(): return {c}\n    return f"),
    "a constant in a set": lambda c: from_source(f"def build(n): return n in {{'a', 'b', 'c{c}'}}"),
    "an attribute that code names": lambda c: from_source(f"def build(n): return n.name{c}"),
    "a plain global": lambda c: from_source("def build(n): return n * WIDTH", WIDTH=c),
    "a global of an inner function": lambda c: from_source("def build(n): return lambda: WIDTH", WIDTH=c),
    "a global array": lambda c: from_source("def build(n): return n * WEIGHTS", WEIGHTS=np.full(3, c)),
    "a global function": lambda c: from_source("def build(n): return helper(n)", helper=closure(c)),
    "a global class": lambda c: from_source("def build(n): return Own().solve()", Own=own_class(c)),
    "a function of a module of the user": with_module,
    "functions that call each other": recursive,
    "an attribute of a function": lambda c: (f := closure(0), setattr(f, "scale", c))[0],
    "a partial": lambda c: functools.partial(closure(0), c),
    "a partial of a closure": lambda c: functools.partial(closure(c), 1),
    "a cached function": lambda c: functools.lru_cache(closure(c)),
    "a wrapped function": lambda c: functools.wraps(closure(0))(closure(c)),
    "a bound method": lambda c: Solver(c).solve,
    "a bound method of a builtin": method_of_list,
    "a lambda": lambda c: from_source(f"build = lambda n: n + {c}"),
    "a class": own_class,
    "the base of a class": with_nested_class,
    "an own solver": Solver,
    "an own solver with slots": Slotted,
    "an own solver of an own class": lambda c: own_class(c)(),
    "a data class": Settings,
    "an enumeration": colors,
    "a member of an enumeration": lambda c: colors(c).RED,
    "a list of an own class": lambda c: FromList([c]),
    "a default dictionary": lambda c: collections.defaultdict(list, a=c),
    "a part": lambda c: FISTA(max_iter=c),
    "a part of a part": lambda c: Part(Part(FISTA(max_iter=c))),
    "a part in a list": lambda c: [("solver", FISTA(max_iter=c))],
    "a pipeline": lambda c: make_pipeline(StandardScaler(), PCA(c)),
    "a frozen estimator": lambda c: FrozenEstimator(PCA(1).fit(X[: 30 * c])),
    "a frozen pipeline": lambda c: FrozenEstimator(make_pipeline(StandardScaler(), PCA(1)).fit(X[: 30 * c])),
    "a RandomState": np.random.RandomState,
    "a RandomState that moved on": moved_on,
    "a generator of numpy": np.random.default_rng,
    "bits of numpy": lambda c: np.random.PCG64(c),
    "a generator of torch": torch_generator,
    "a generator of Python": random.Random,
    "an array": lambda c: np.full((3, 2), c),
    "a middle row": lambda c: np.where(np.arange(9000) == 4500, c, 0),
    "an array of objects": lambda c: np.array(["a", None, c], dtype=object),
    "an array of text": lambda c: np.array(["a", f"b{c}"]),
    "an array of records": lambda c: np.array([(c, 2.0)], dtype=[("a", int), ("b", float)]),
    "a masked array": masked,
    "a tensor": lambda c: torch.full((2,), float(c)),
    "half precision": lambda c: torch.full((2,), c, dtype=torch.bfloat16),
    "a conjugated tensor": lambda c: torch.full((2,), 1j * c).conj(),
    "a sparse tensor": lambda c: torch.eye(3).mul(c).to_sparse(),
    "a network": linear,
    "a frame": frame,
    "names of columns": lambda c: pd.DataFrame(X, columns=[f"{c} {index}" for index in range(8)]),
    "an index": lambda c: pd.DataFrame(X, index=np.arange(60) + c),
    "categories": lambda c: pd.Series(pd.Categorical(["a"], categories=["a", "b", "c"][: c + 1])),
    "text in a frame": lambda c: pd.DataFrame({"a": ["x", None, f"y{c}"]}),
    "a frame of polars": lambda c: pl.DataFrame({"a": [1, c], "b": ["x", None]}),
    "a series": lambda c: pd.Series([1, c], name="a"),
    "a date": lambda c: datetime.datetime(2020, 1, c),
    "a path": lambda c: Path("folder") / str(c),
    "a long text": lambda c: "a" * 500 + str(c),
    "a long list": lambda c: [*range(1000), c],
    "a set": lambda c: {"a", "b", str(c)},
    "a nested list": lambda c: [[1], [{"a": c}]],
    "a list within itself": cyclic,
}  # fmt: skip


@pytest.mark.parametrize("kind", MAKERS)
def test_equal_contents_read_equal_and_others_do_not(kind):
    make = MAKERS[kind]
    assert fingerprint(make(1)) == fingerprint(make(1)) != fingerprint(make(2))
    assert len(fingerprint(make(1))) < 200


DIFFERENT = {
    "a number and its text": (1, "1"),
    "True and one": (True, 1),
    "zeros of two signs": (0.0, -0.0),
    "zeros of two signs in an array": (np.zeros(2), -np.zeros(2)),
    "zeros of two signs in code": (from_source("build = lambda: 0.0"), from_source("build = lambda: -0.0")),
    "constants of two types": (from_source("build = lambda: 1"), from_source("build = lambda: True")),
    "dtypes": (np.zeros(2, np.float32), np.zeros(2, np.int32)),
    "dtypes of columns": (pd.DataFrame({"a": [1]}, dtype="int32"), pd.DataFrame({"a": [1]}, dtype="uint32")),
    "shapes": (np.zeros((2, 3)), np.zeros((3, 2))),
    "an empty array and another": (np.zeros((0, 3)), np.zeros((0, 4))),
    "a list and a tuple": ([1, 2], (1, 2)),
    "an array and its list": (np.array([1, 2]), [1, 2]),
    "a text that looks like an array": (np.zeros(1), fingerprint(np.zeros(1))),
    "a number that is missing and NaN": (pl.Series([None, 1.0]), pl.Series([float("nan"), 1.0])),
    "parts of two classes": (FISTA(), ISTA()),
    "solvers of two classes": (Solver(1), Slotted(1)),
    "arguments with a star and without": (from_source("build = lambda *a: 1"), from_source("build = lambda a: 1")),
    "names of arguments": (from_source("build = lambda a: 1"), from_source("build = lambda b: 1")),
    "a generator function": (
        from_source("def build(n):\n    return\n    yield"),
        from_source("def build(n):\n    return"),
    ),
    "what is caught": (
        from_source("def build(n):\n    try: n()\n    except ValueError: pass"),
        from_source("def build(n):\n    try: n()\n    except TypeError: pass"),
    ),
    "functions of libraries": (torch.nn.functional.relu, torch.nn.functional.elu),
    "ufuncs": (np.tanh, np.sin),
    "builtins": (torch.relu, torch.tanh),
    "classes of libraries": (torch.nn.Linear, torch.nn.Bilinear),
    "functions that a library made": (
        from_source("def f(): return 1", "f", __name__="numpy"),
        from_source("def f(): return 2", "f", __name__="numpy"),
    ),
    "modules": (functools, collections),
    "a nesting": ([[1], 2], [[1, 2]]),
    "dates of numpy": (np.datetime64("2020-01-01T00:00:00.000000001"), np.datetime64("2020-01-01T00:00:00.000000002")),
}


@pytest.mark.parametrize("kind", DIFFERENT)
def test_what_differs_reads_differently(kind):
    one, other = DIFFERENT[kind]
    assert fingerprint(one) != fingerprint(other)
    assert fingerprint([one]) != fingerprint([other])


EQUAL = {
    "the order of keys": ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
    "layouts": (np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3))),
    "numbers of numpy": (np.float64(3), 3.0),
    "an array and a tensor": (np.ones(3, np.float32), torch.ones(3)),
    "a tensor and a parameter": (torch.ones(3), torch.nn.Parameter(torch.ones(3))),
    "NaN": (float("nan"), np.float32("nan")),
    "comments and lines": (
        from_source("def build(n):\n    return n + 1"),
        from_source("\n\n# why\ndef build(n):  # moved\n\n    # the next\n    return n + 1"),
    ),
    "being within a function": (
        from_source("def build(n): return n"),
        from_source("def make():\n    def build(n): return n\n    return build", "make")(),
    ),
    "annotations": (from_source("def build(n): return n"), from_source("def build(n: int) -> int: return n")),
    "globals that are not read": (
        from_source("def build(n): return n", unused=1),
        from_source("def build(n): return n", unused=2),
    ),
    "the file": (
        from_source("def build(n): return n", __file__="one.py"),
        from_source("def build(n): return n", __file__="two.py"),
    ),
    "what is said": (Part(FISTA(), verbose=1), Part(FISTA(), verbose=2)),
    "a clone": (make_pipeline(StandardScaler(), PCA(2)).fit(X), clone(make_pipeline(StandardScaler(), PCA(2)))),
    "one object twice": ([one_list := [1], one_list, Solver(1)], [[1], [1], Solver(1)]),
}


@pytest.mark.parametrize("kind", EQUAL)
def test_what_makes_no_difference_reads_equal(kind):
    one, other = EQUAL[kind]
    assert fingerprint(one) == fingerprint(other)


def test_a_memory_map_reads_like_its_array(tmp_path):
    np.save(tmp_path / "X.npy", X)
    assert fingerprint(np.load(tmp_path / "X.npy", mmap_mode="r")) == fingerprint(X)


def test_using_a_value_does_not_change_its_fingerprint():
    function = MAKERS["functions that call each other"](1)
    solver, kept = Solver(1), FISTA()
    before = [fingerprint(value) for value in (function, solver, kept, Slotted(1))]
    for _ in range(1000):  # the interpreter specialises the code
        function(10)
    solver.solve(None)
    assert [fingerprint(value) for value in (function, solver, kept, Slotted(1))] == before


def test_every_process_reads_the_same():
    script = """
        from tests.storage.test_fingerprint import EQUAL, MAKERS, fingerprint
        print([fingerprint(make(1)) for make in MAKERS.values()], [fingerprint(pair[0]) for pair in EQUAL.values()])
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(script)]
    root = Path(__file__).parents[2]
    texts = {
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, cwd=root, check=True, capture_output=True
        ).stdout
        for seed in "12"
    }
    assert len(texts) == 1


def test_many_functions_that_call_each_other_are_read_in_linear_time():
    names = [f"f{index}" for index in range(40)]
    source = "\n".join(f"def {name}(n): return {' + '.join(f'{other}(n)' for other in names)}" for name in names)
    fingerprint(from_source(source, "f0"))  # 40! paths lead through them


def over_a_live_object():
    lock = threading.Lock()
    return lambda n: lock


REFUSED = {
    "an object without content": object,
    "a lock": threading.Lock,
    "an open file": lambda: io.TextIOWrapper(io.BytesIO()),
    "an iterator": lambda: iter([1, 2]),
    "a generator": lambda: (i for i in range(3)),
    "a function over a live object": over_a_live_object,
    "an own solver with a lock": lambda: Solver(threading.Lock()),
    "a part with a lock": lambda: Part(Part(threading.Lock())),
    "a ufunc of the user": lambda: np.frompyfunc(closure(1), 2, 1),
    "a tensor without numbers": lambda: torch.ones(3, device="meta"),
    "a list in a list in a list": lambda: functools.reduce(lambda inner, _: [inner], range(10_000), []),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_told_apart_is_refused_by_name(kind):
    with pytest.raises(ValueError, match=r"^decoder.* cannot be told from others"):
        fingerprint(REFUSED[kind](), "decoder")


def test_the_message_leads_to_the_object_and_says_what_to_do():
    said = r"^solver > inner > closure > lock .* this lock computes .*Give it a method __fingerprint__"
    with pytest.raises(ValueError, match=said):
        fingerprint(Part(over_a_live_object()), "solver")
    with pytest.raises(ValueError, match=r"^inner__inner > closure > lock "):
        fingerprint_parameters(Part(Part(over_a_live_object())))


def test_an_object_can_say_what_it_is():
    class Named:
        def __init__(self, name):
            self.name, self.lock = name, threading.Lock()

        def __fingerprint__(self):
            return {"name": self.name}

    assert fingerprint(Named("a")) == fingerprint(Named("a")) != fingerprint(Named("b"))
    function = over_a_live_object()
    function.__fingerprint__ = lambda: "the first version"
    assert fingerprint(function)


# --------------------------------------------------------------------------------------------------- its three users


class OwnDecoder(torch.nn.Module):
    def __init__(self, n_features, n_components, scale):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(n_features, n_components))
        self.scale = scale

    def forward(self, codes):
        return self.scale * codes @ self.weight.T


def builder(scale):
    return lambda n_features, n_components: OwnDecoder(n_features, n_components, scale)


class OwnSolver:
    """FISTA under a name of the user's; no estimator, so that its settings are no parameters."""

    def __init__(self, max_iter):
        self.max_iter = max_iter

    def solve(self, *args, **kwargs):
        return FISTA(max_iter=self.max_iter).solve(*args, **kwargs)


def coder(**parameters):
    return VarianceDictionaryLearning(**{"n_components": 4, "max_iter": 1, "random_state": 0, **parameters})


def atoms(content):
    values = np.random.default_rng(1).standard_normal((4, 8))
    values[2, 3] = content
    return pd.DataFrame(values)


TWO_MODELS = {
    "closures of one name": lambda c: {"decoder": builder(c)},
    "frames as init": lambda c: {"init": atoms(c)},
    "random states": lambda c: {"random_state": np.random.RandomState(c)},
    "own solvers": lambda c: {"solver": OwnSolver(c)},
    "settings of a solver": lambda c: {"solver": FISTA(max_iter=c)},
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", TWO_MODELS)
def test_a_checkpoint_and_a_kept_model_are_not_given_for_another(tmp_path, kind):
    make = TWO_MODELS[kind]
    coder(**make(1)).fit(X, checkpoint=tmp_path / "run")
    coder(**make(1)).fit(X, checkpoint=tmp_path / "run")
    (name,) = make(1)
    with pytest.raises(CheckpointMismatchError, match=rf"What differs: {name}\w*: .* in the checkpoint"):
        coder(**make(2)).fit(X, checkpoint=tmp_path / "run")
    one, again, other = (fingerprint_parameters(coder(**make(content))) for content in (1, 1, 2))
    assert one == again != other


def test_an_object_of_the_user_that_cannot_be_told_from_others_stops_fit_before_training(tmp_path):
    with pytest.raises(ValueError, match=r"^decoder > closure > lock cannot be told from others"):
        coder(decoder=over_a_live_object()).fit(X, checkpoint=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["skvardict", "torch", "scikit-learn"])
def test_a_model_kept_by_another_version_is_fitted_again(tmp_path, monkeypatch, place):
    fit_or_load(PCA(2, random_state=0), X, folder=tmp_path)
    with monkeypatch.context() as other:
        if place == "skvardict":
            other.setattr("skvardict.storage.fingerprint.__version__", "0.0.1")
        else:
            other.setattr(f"{'sklearn' if place == 'scikit-learn' else place}.__version__", "0.0.1")
        fit_or_load(PCA(2, random_state=0), X, folder=tmp_path)
    assert len(list(tmp_path.glob("*.joblib"))) == 2
    fit_or_load(PCA(2, random_state=0), X, folder=tmp_path)
    assert len(list(tmp_path.glob("*.joblib"))) == 2


def test_parameters_that_differ_are_named_one_by_one():
    one, other = (fingerprint_parameters(coder(solver=FISTA(max_iter=n))) for n in (10, 20))
    assert {name for name in one if one[name] != other[name]} == {"solver__max_iter"}
    assert one["solver"] == "FISTA"
    assert one["estimator"] == skvardict.VarianceDictionaryLearning.__name__
