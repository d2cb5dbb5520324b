"""`save` and `load`: what comes back is the estimator; what is hostile or damaged is refused, cheaply."""

import json
import linecache
import os
import traceback
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError

import skvardict
from skvardict import StandardDictionaryLearning, VarianceDictionaryLearning
from skvardict.estimators import _files
from skvardict.networks import MLP
from skvardict.solvers import FISTA, ISTA
from skvardict.storage import files
from skvardict.storage.files import DamagedFileError
from skvardict.storage.packing import pack, unpack
from skvardict.training import Adam, StepDecay

pytestmark = pytest.mark.filterwarnings("ignore:.*mean square of X:UserWarning")


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).standard_normal((100, 8)).astype(np.float32)


def small(**parameters):
    return VarianceDictionaryLearning(**{"n_components": 4, "max_iter": 2, "random_state": 0, **parameters})


@pytest.fixture(scope="module")
def path(X, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "model.skv"
    small(solver=FISTA(max_iter=50)).fit(X).save(path)
    return path


def rewrite(path, target, change):
    """Write what `change(arrays, content)` makes of a file, with a right checksum, as an attacker would."""
    arrays, content = files.read_file(path)
    change(arrays, content)
    target.write_bytes(files.to_bytes(arrays, content))
    return target


def build(n_features, n_components):
    return torch.nn.Linear(n_components, n_features)


# ---------------------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"decoder": MLP([7, 5]), "gamma": np.float64(3)},
        {"encoder": None, "solver": ISTA(max_iter=np.int64(20)), "transform_algorithm": "solver"},
        {"init": np.eye(4, 8), "device": torch.device("cpu"), "optimizer": Adam(schedule=StepDecay(0.5, 3))},
        {"init": [[1.0] * 8] * 4, "random_state": None, "positive_code": False},
    ],
)  # fmt: skip
def test_parameters_attributes_and_codes_come_back(X, tmp_path, parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = small(**parameters).fit(X)
        model.save(tmp_path / "model")
        other = skvardict.load(tmp_path / "model")
        np.testing.assert_array_equal(model.transform(X), other.transform(X))
    assert str(other.get_params()) == str(small(**parameters).get_params()).replace("np.float64(3.0)", "3.0").replace(
        "np.int64(20)", "20"
    )
    assert other.history_ == model.history_
    for name in ("n_iter_", "n_steps_", "best_epoch_", "n_dead_", "n_features_in_", "resumed_epoch_"):
        assert getattr(other, name) == getattr(model, name)
    assert vars(other).keys() == vars(model).keys()


def test_training_goes_on_as_if_never_saved(X, tmp_path):
    model = small().fit(X)
    model.save(tmp_path / "model")
    other = skvardict.load(tmp_path / "model").partial_fit(X)
    model.partial_fit(X)
    np.testing.assert_array_equal(model.components_, other.components_)


def test_feature_names_come_back(X, tmp_path):
    names = [f"pixel {index} \u00b5" for index in range(7)] + [""]
    frame = pd.DataFrame(X, columns=names)
    small().fit(frame).save(tmp_path / "model")
    other = skvardict.load(tmp_path / "model")
    assert other.feature_names_in_.tolist() == names
    other.transform(frame)
    with pytest.raises(ValueError, match="feature names"):
        other.transform(frame.rename(columns={"": "other"}))


def test_the_safetensors_library_reads_our_files(path):
    tensors = safetensors.numpy.load_file(path)
    np.testing.assert_array_equal(tensors["fitted.params_.decoder.components"], skvardict.load(path).components_)


def test_a_file_is_small(X, path):
    model = skvardict.load(path)
    n_bytes = sum(array.nbytes for array in [*model.params_.values(), *model._train_state.values()])
    assert path.stat().st_size < n_bytes + 12_000  # the header, and about 5 kB of the generator are in it


def test_an_unfitted_estimator_cannot_be_saved(tmp_path):
    with pytest.raises(NotFittedError):
        small().save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_saving_is_all_or_nothing(X, tmp_path, monkeypatch):
    small().fit(X).save(tmp_path / "model")
    before = (tmp_path / "model").read_bytes()
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        small(random_state=1).fit(X).save(tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_builders_are_passed_to_load(X, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = small(decoder=build).fit(X)
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"cannot hold decoder .*load\(path, decoder=\.\.\.\)"):
        skvardict.load(tmp_path / "model")
    other = skvardict.load(tmp_path / "model", decoder=build)
    np.testing.assert_array_equal(other.transform(X), model.transform(X))
    with pytest.raises(DamagedFileError, match="has shape"):
        skvardict.load(tmp_path / "model", decoder=lambda d, k: torch.nn.Linear(k, d, bias=False))
    with pytest.raises(ValueError, match=r"to rows of 8, .*\(2, 7\)"):
        skvardict.load(tmp_path / "model", decoder=lambda d, k: torch.nn.Linear(k, d - 1))


def test_a_random_state_object_is_passed_to_load(X, tmp_path):
    small(random_state=np.random.RandomState(3)).fit(X).save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"cannot hold random_state \(RandomState"):
        skvardict.load(tmp_path / "model")
    assert skvardict.load(tmp_path / "model", random_state=4).random_state == 4


def test_another_version_is_warned_about_as_scikit_learn_does(path, tmp_path):
    target = rewrite(path, tmp_path / "old", lambda arrays, content: content["versions"].update(skvardict="0.0.9"))
    with pytest.warns(InconsistentVersionWarning, match=r"saved by skvardict 0\.0\.9"):
        skvardict.load(target)


def test_a_newer_format_is_refused_with_advice(path, tmp_path):
    def change(arrays, content):
        content.update(format=99, versions={"skvardict": "7.0"}, unheard_of=1)

    with pytest.raises(ValueError, match=r"skvardict 7\.0 in format 99.*Update skvardict"):
        skvardict.load(rewrite(path, tmp_path / "new", change))


def test_a_file_from_before_parts_is_refused_with_advice(path, tmp_path):
    def change(arrays, content):
        content.update(format=1, versions={"skvardict": "0.0.9"})
        content["parameters"]["solver"] = {"solver": {"FISTA": {"max_iter": 50}}}

    said = r"old was written by skvardict 0\.0\.9 in format 1, before .* from parts\. Fit anew, or load it with"
    with pytest.raises(ValueError, match=said):
        skvardict.load(rewrite(path, tmp_path / "old", change))


def test_what_was_fitted_on_a_gpu_loads_without_one(path, tmp_path, X, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def change(arrays, content):
        content["parameters"]["device"] = "cuda:1"

    target = rewrite(path, tmp_path / "gpu", change)
    with pytest.warns(UserWarning, match="'cuda:1', which is not available here"):
        model = skvardict.load(target)
    np.testing.assert_array_equal(model.transform(X), skvardict.load(path).transform(X))


# ------------------------------------------------------------------------------------------- damaged and hostile


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        skvardict.load(tmp_path / "nothing")


@pytest.mark.parametrize("share", [0, 1e-3, 0.01, 0.1, 0.5, 0.999])
def test_truncated_files_are_refused(path, tmp_path, share):
    data = path.read_bytes()
    (tmp_path / "cut").write_bytes(data[: int(share * len(data))])
    with pytest.raises(DamagedFileError, match=r"cut off|damaged"):
        skvardict.load(tmp_path / "cut")


def test_bytes_at_the_end_are_refused(path, tmp_path):
    (tmp_path / "long").write_bytes(path.read_bytes() + b"0")
    with pytest.raises(DamagedFileError, match="cut off or altered"):
        skvardict.load(tmp_path / "long")


def test_folders_and_devices_are_refused(tmp_path):
    with pytest.raises((DamagedFileError, IsADirectoryError)):
        skvardict.load(tmp_path)
    if Path("/dev/zero").exists():
        with pytest.raises(DamagedFileError, match="not a regular file"):
            skvardict.load("/dev/zero")


@pytest.mark.parametrize("data", [b"", b"\x80\x04\x95K\x00", b"PK\x03\x04" * 10, b"{}" * 50, b"\xff" * 64, bytes(64)])
def test_other_files_are_refused(tmp_path, data):
    (tmp_path / "other").write_bytes(data)
    with pytest.raises(DamagedFileError):
        skvardict.load(tmp_path / "other")


def hostile(path, tmp_path, change, excess=2**16):
    """Return the message with which a file is refused; `excess` bounds the bytes beside four times its size."""
    target = rewrite(path, tmp_path / "hostile", change)
    tracemalloc.start()
    try:
        with pytest.raises(DamagedFileError) as caught:
            skvardict.load(target)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * target.stat().st_size + excess
    return str(caught.value)


def params(content):
    return content["parameters"]


def fitted(content):
    return content["fitted"]


def mlp(sizes):
    return {"part": {"MLP": {"hidden_layer_sizes": sizes}}}


HOSTILE = {
    "an unknown class": lambda a, c: c.update({"class": "os.system"}),
    "a class of another module": lambda a, c: c.update({"class": "load"}),
    "an unknown parameter": lambda a, c: params(c).update(shell="rm"),
    "a parameter out of range": lambda a, c: params(c).update(alpha=-1.0),
    "a parameter of another type": lambda a, c: params(c).update(n_components="4"),
    "an unknown solver": lambda a, c: params(c).update(solver={"part": {"Popen": {"args": "ls"}}}),
    "an unknown setting of a part": lambda a, c: params(c).update(solver={"part": {"FISTA": {"callback": 1}}}),
    "a setting of a part out of range": lambda a, c: params(c).update(solver={"part": {"FISTA": {"tol": -1.0}}}),
    "a part that is no object": lambda a, c: params(c).update(solver={"part": {"FISTA": [1]}}),
    "a network in the place of a part": lambda a, c: params(c).update(decoder={"part": {"LinearDecoder": {}}}),
    "parts nested without end": lambda a, c: params(c).update(solver=nested_parts(200)),
    "something omitted within a part": lambda a, c: params(c).update(
        solver={"part": {"FISTA": {"tol": {"omitted": "x"}}}}
    ),
    "an unknown kind of value": lambda a, c: params(c).update(alpha={"pickle": "gASV"}),
    "a billion components": lambda a, c: params(c).update(n_components=10**9),
    "more components than memory addresses": lambda a, c: params(c).update(n_components=10**18),
    "a billion features": lambda a, c: fitted(c).update(n_features_in_=10**9),
    "no features": lambda a, c: fitted(c).update(n_features_in_=0),
    "ten thousand layers": lambda a, c: params(c).update(decoder=mlp([1] * 10_000)),
    "a layer of negative size": lambda a, c: params(c).update(decoder=mlp([-3])),
    "layers that are no numbers": lambda a, c: params(c).update(decoder=mlp(["a", None])),
    "another decoder": lambda a, c: params(c).update(decoder=mlp([3])),
    "an attribute that is a method": lambda a, c: fitted(c).update(transform=1),
    "an attribute that is a property": lambda a, c: fitted(c).update(components_={"array": "x"}),
    "a private attribute": lambda a, c: fitted(c).update(__class__="x"),
    "no weights": lambda a, c: fitted(c).pop("params_"),
    "no training state": lambda a, c: fitted(c).update(_train_state={"dict": {}}),
    "a missing array": lambda a, c: a.pop("fitted.params_.decoder.components"),
    "weights of another shape": lambda a, c: a.update({"fitted.params_.decoder.components": np.ones((4, 9), "f4")}),
    "a training state of another shape": lambda a, c: a.update(
        {"fitted._train_state.params.decoder.components": np.ones((1, 1), "f4")}
    ),
    "weights that are not numbers": lambda a, c: a["fitted.params_.decoder.components"].fill(np.nan),
    "whole numbers as weights": lambda a, c: a.update({"fitted.params_.decoder.components": np.ones((4, 8), "i8")}),
    "a path as the name of an array": lambda a, c: fitted(c).update(feature_names_in_={"array": "../../etc/passwd"}),
    "the wrong number of feature names": lambda a, c: fitted(c).update(feature_names_in_=["a"]),
    "a history that is no table": lambda a, c: fitted(c).update(history_={"dict": {"epoch": [1, 2], "l1": [0.5]}}),
    "strings in the history": lambda a, c: fitted(c).update(history_={"dict": {"epoch": ["1", "2"]}}),
    "an array named a thousand times": lambda a, c: (
        a.update(x=np.linspace(0, 1, 1000)),
        fitted(c).update(x_=[{"numbers": "x"}] * 1000),
    ),
    "an array that two attributes name": lambda a, c: fitted(c)["params_"]["dict"].update(
        {"decoder.components": {"array": "fitted._train_state.params.decoder.components"}}
    ),
    "a list of bytes": lambda a, c: (a.update(x=np.zeros(50_000, "u1")), fitted(c).update(x_={"numbers": "x"})),
    "an array as the name of a decoder": lambda a, c: (
        a.update(x=np.random.default_rng(0).random((24, 40))),
        params(c).update(decoder={"array": "x"}),
    ),
    "an object of a thousand numbers": lambda a, c: fitted(c).update(x_={"array": [0.5] * 1000}),
    "a law as a decoder": lambda a, c: params(c).update(decoder={"part": {"StudentT": {"df": 2.0}}}),
    "a law without degrees of freedom": lambda a, c: params(c).update(decoder={"part": {"StudentT": {"df": "two"}}}),
    "values nested a thousand times": lambda a, c: fitted(c).update(n_iter_=nested(900)),
}


# Files that are mostly JSON, of which the parsed objects take up to 25 times the text, or the frames of a recursion.
LONG = {
    "parts nested without end",
    "ten thousand layers",
    "an array named a thousand times",
    "values nested a thousand times",
}


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


def nested_parts(depth):
    value = 1
    for _ in range(depth):
        value = {"part": {"FISTA": {"tol": value}}}
    return value


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_with_a_right_checksum_is_refused_without_cost(path, tmp_path, kind):
    message = hostile(path, tmp_path, HOSTILE[kind], excess=2**20 if kind in LONG else 2**16)
    assert "hostile" in message  # the name of the file


def test_more_layers_than_arrays_are_given_up_early(path, tmp_path):
    message = hostile(path, tmp_path, HOSTILE["ten thousand layers"], excess=2**19)
    assert "more parts than the file has arrays" in message


def test_the_message_about_an_array_is_short(path, tmp_path):
    assert len(hostile(path, tmp_path, HOSTILE["an array as the name of a decoder"])) < 1500


@pytest.mark.parametrize("name", ["VarianceDictionaryLearning", "SparseVAE", "ThresholdedVSC", "SpikeAndSlabVSC"])
def test_loading_takes_up_to_three_times_the_file_and_renders_no_stack(tmp_path, monkeypatch, name):
    X = np.random.default_rng(0).standard_normal((60, 40)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(skvardict, name)(30, max_iter=1, random_state=0).fit(X).save(tmp_path / "model")
    skvardict.load(tmp_path / "model")  # imports

    def fail(*args, **kwargs):
        raise AssertionError("a stack was rendered, for which source files are read")

    monkeypatch.setattr(traceback, "format_stack", fail)
    monkeypatch.setattr(linecache, "updatecache", fail)
    tracemalloc.start()
    try:
        skvardict.load(tmp_path / "model")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * (tmp_path / "model").stat().st_size


def test_nothing_is_written_or_run_for_names_that_are_paths(path, tmp_path):
    def change(arrays, content):
        arrays["../../outside"] = np.ones(3)
        arrays["/tmp/outside"] = np.ones(3)

    target = rewrite(path, tmp_path / "paths", change)
    before = sorted(tmp_path.rglob("*"))
    skvardict.load(target)  # arrays that nothing refers to are left alone
    assert sorted(tmp_path.rglob("*")) == before


def with_header(target, header, data=b"", declared=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if declared is None else declared
    target.write_bytes(size.to_bytes(8, "little") + text + data)
    return target


META = {"skvardict": "{}", "sha256": "0"}


@pytest.mark.parametrize(
    "header",
    [
        {"__metadata__": META, "x": {"dtype": "F32", "shape": [2**60], "data_offsets": [0, 2**62]}},
        {"__metadata__": META, "x": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]}},
        {"__metadata__": META, "x": {"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]}},
        {"__metadata__": META, "x": {"dtype": "PICKLE", "shape": [2], "data_offsets": [0, 8]}},
        {"__metadata__": META, "x": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}},
        {"__metadata__": META, "x": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 8]}},
        {"__metadata__": META, "x": {"dtype": "F32", "shape": "2", "data_offsets": [0, 8]}},
        {"__metadata__": META, "x": {"dtype": "F32", "data_offsets": [0, 8]}},
        {"__metadata__": META, "x": 3},
        {"__metadata__": {"skvardict": 3, "sha256": "0"}},
        {"__metadata__": []},
        {},
        [],
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe\x00",
        "{}".encode("utf-16-le"),  # found by the fuzzer: an import of the codec
        b"1" * 5000,
    ],
)
def test_hostile_headers_are_refused(tmp_path, header):
    with pytest.raises(DamagedFileError):
        skvardict.load(with_header(tmp_path / "file", header, bytes(8)))


@pytest.mark.parametrize("declared", [2**63, 2**64 - 1, 2**31, 200])
def test_a_header_of_a_huge_declared_size_is_not_read(tmp_path, declared):
    tracemalloc.start()
    with pytest.raises(DamagedFileError, match="cut off"):
        skvardict.load(with_header(tmp_path / "file", {"__metadata__": META}, declared=declared))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**18


def test_a_large_header_is_refused_before_it_is_parsed(tmp_path):
    with pytest.raises(DamagedFileError, match="header of 3000000 bytes"):
        skvardict.load(with_header(tmp_path / "file", b"[" + b"[]," * 999_999 + b"]]"))


@pytest.mark.parametrize("entry", [b"[]", b'{"":{"":{}}}'])
def test_a_header_of_nothing_but_objects_takes_a_bounded_amount(tmp_path, entry):
    # Measured: 23 and 36 MB, the most that a header of the longest size makes of itself, in a file of any size.
    text = b"[" + (entry + b",") * ((2**20 - 3 - len(entry)) // (len(entry) + 1)) + entry + b"]"
    target = with_header(tmp_path / "file", text)
    tracemalloc.start()
    try:
        with pytest.raises(DamagedFileError, match="header is damaged"):
            skvardict.load(target)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 * 2**20


def test_a_checkpoint_is_told_from_a_model(X, path, tmp_path):
    model = small().fit(X, checkpoint=tmp_path / "run")
    with pytest.raises(DamagedFileError, match=r"Pass it to fit\(checkpoint="):
        skvardict.load(tmp_path / "run")
    with pytest.raises(ValueError, match="is not a checkpoint"):
        model.fit(X, checkpoint=path)


# ----------------------------------------------------------------------------------------------------- properties

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=12) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=30,
)


@given(plain)
@settings(max_examples=200, deadline=None)
def test_any_plain_value_survives_packing(value):
    arrays = {}
    data = files.to_bytes(arrays, pack(value, "v", arrays))
    # packing fills `arrays` before the bytes are made: arguments are evaluated in order
    read, content = files.from_bytes(data)
    back = unpack(content, read)
    assert back == value
    assert type(back) is type(value)


numbers = st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_])


@given(st.lists(st.integers(0, 4), max_size=3), numbers, st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_any_array_survives_a_file(shape, dtype, seed):
    array = (10 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)
    for layout in (array, array.T, array[..., ::-1] if array.ndim else array):
        read, _ = files.from_bytes(files.to_bytes({"a": layout}, None))
        np.testing.assert_array_equal(read["a"], layout)
        assert read["a"].dtype == dtype
        assert read["a"].shape == layout.shape


@given(st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_refused_cleanly(data):
    with pytest.raises(DamagedFileError):
        files.from_bytes(data)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_change_of_bytes_is_noticed(path, data):
    original = path.read_bytes()
    position = data.draw(st.integers(0, len(original) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != original[position]))
    changed = original[:position] + bytes([value]) + original[position + 1 :]
    try:
        read, content = files.from_bytes(changed)
    except DamagedFileError:
        return
    # Whitespace in the header and the like may change; what the file says may not.
    expected, expected_content = files.from_bytes(original)
    assert content == expected_content
    assert read.keys() == expected.keys()
    assert all((read[name] == expected[name]).all() for name in read)


def test_every_public_estimator_can_be_loaded():
    assert _files._public_estimators().keys() >= {"VarianceDictionaryLearning", "StandardDictionaryLearning"}
    assert StandardDictionaryLearning in _files._public_estimators().values()
