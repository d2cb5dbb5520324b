"""Rows of any container: the same numbers, read in pieces, results in the caller's kind."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.utils.validation import validate_data

from skvardict._utils.random import make_generator
from skvardict.rows import Rows, checks

CPU = torch.device("cpu")


class Model(BaseEstimator):
    """An estimator whose rows are wanted on the CPU."""

    device = "cpu"


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).standard_normal((500, 10)).astype(np.float32)


def mapped(X, folder):
    np.save(folder / "X.npy", X)
    return np.load(folder / "X.npy", mmap_mode="r")


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layout",
    [np.asfortranarray, lambda X: X.astype(np.float64), lambda X: X.astype(">f4"), lambda X: X.astype(np.float16)],
    ids=["columns first", "float64", "other byte order", "float16"],
)
def test_any_layout_of_a_map_is_read_as_the_array(X, tmp_path, layout):
    X = layout(X)
    kinds = [Rows(values).to(dtype=torch.float32) for values in (mapped(X, tmp_path), X)]
    rows = torch.tensor([3, 77, 499, 0])
    expected = torch.from_numpy(X[rows.numpy()].astype(np.float32))
    for one in kinds:
        assert torch.equal(one.take(rows), expected)
        assert torch.equal(one.read(10, 20), torch.from_numpy(X[10:20].astype(np.float32)))


KINDS = {
    "array": lambda X, folder: Rows(X),
    "map": lambda X, folder: Rows(mapped(X, folder)),
    "tensor": lambda X, folder: Rows(torch.from_numpy(X)),
    "subset": lambda X, folder: Rows(np.vstack([X[:100] * 9, X])).subset(torch.arange(100, 600)),
    "subset of a subset": lambda X, folder: (
        Rows(np.vstack([X[:50], X, X])).subset(torch.arange(20, 900)).subset(torch.arange(30, 530))
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_rows_read_the_same(X, tmp_path, kind):
    rows, whole = KINDS[kind](X, tmp_path), torch.from_numpy(X)
    assert (len(rows), rows.n_features) == X.shape
    assert torch.equal(rows.read(), whole)
    assert torch.equal(rows.read(33, 41), whole[33:41])
    chosen = torch.tensor([499, 0, 7, 7])
    assert torch.equal(rows.take(chosen), whole[chosen])
    for pieces in (rows.slices(64), rows.blocks(), rows.in_chunks(lambda block: block, most_rows=64)):
        positions, blocks = zip(*pieces)
        assert torch.equal(torch.cat(blocks), whole)
        assert torch.equal(torch.cat([whole[where] for where in positions]), whole)
    batches = list(rows.shuffled(64, make_generator(3)))
    assert torch.equal(torch.cat(batches), whole[torch.randperm(500, generator=make_generator(3))])
    assert {len(batch) for batch in batches} <= {62, 63}  # eight batches that differ by one row at most
    assert rows.mean_batch_size(64) == 500 / 8


@pytest.mark.parametrize("kind", KINDS)
def test_rows_split_into_parts_that_keep_their_order(X, tmp_path, kind):
    rows = KINDS[kind](X, tmp_path)
    rest, held_out = rows.split(50, make_generator(0))
    order = torch.randperm(500, generator=make_generator(0))
    assert torch.equal(held_out.read(), torch.from_numpy(X)[order[:50].sort().values])
    assert torch.equal(rest.read(), torch.from_numpy(X)[order[50:].sort().values])
    assert rows.split(0, make_generator(0)) == (rows, None)


def test_a_tensor_is_read_without_a_copy_and_an_array_with_one(X):
    tensor = torch.from_numpy(X.copy()).requires_grad_()
    rows = Rows(tensor)
    assert rows.read(3, 5).data_ptr() == tensor[3:5].data_ptr()
    assert not rows.read().requires_grad
    assert not rows.take(torch.tensor([1])).requires_grad
    assert rows.X is tensor
    assert Rows(X).read(3, 5).data_ptr() != X[3:5].ctypes.data


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("u1", "f4"), ("f2", "f4"), ("f4", "f4"), (">f4", "f4"), ("f8", "f8"), (">f8", "f8"), ("i8", "f4"), ("?", "f4")],
)
def test_float64_stays_and_everything_else_becomes_float32(X, dtype, expected):
    values = np.abs(X).astype(dtype)
    rows = Rows(values)
    assert rows.dtype == torch.from_numpy(np.empty(0, expected)).dtype
    np.testing.assert_array_equal(rows.read().numpy(), values.astype(expected))
    assert Rows(torch.empty(3, 2, dtype=torch.bfloat16)).dtype == torch.float32
    assert rows.to(dtype=torch.float64).read(0, 2).dtype == torch.float64


# --- checking ---------------------------------------------------------------------------------------------------------


def test_rows_are_found_finite_or_named_where_they_are_read(X, tmp_path):
    spoilt = X.copy()
    spoilt[[40, 41], 2] = np.nan
    rows = Rows(mapped(spoilt, tmp_path)).subset(torch.arange(30, 60))
    with pytest.raises(ValueError, match=r"X contains NaN or infinity in 2 of the 3 rows read last: row 40, 41\."):
        rows.take(torch.tensor([11, 29, 10]))
    assert torch.isfinite(rows.take(torch.tensor([0, 29]))).all()


@pytest.mark.parametrize("convert", [np.asarray, torch.tensor, pd.DataFrame], ids=["array", "tensor", "frame"])
def test_rows_in_memory_are_checked_at_once(X, convert):
    spoilt = X.copy()
    spoilt[41, 2] = np.inf
    with pytest.raises(ValueError, match=r"Model: X contains NaN or infinity .* row 41\."):
        Rows.check(Model(), convert(spoilt), reset=True)
    model = Model()
    rows = Rows.check(model, convert(X), reset=True)
    assert (rows.owner, rows.device, model.n_features_in_) == ("Model", CPU, 10)
    with pytest.raises(ValueError, match="10 features"):
        Rows.check(model, convert(X[:, :9]), reset=False)
    with pytest.raises(ValueError, match="y has 9"):
        Rows.check_columns(model, convert(X[:, :9]), "y")


def test_a_frame_gives_its_names_and_is_refused_with_permuted_columns(X):
    frame, model = pd.DataFrame(X, columns=list("abcdefghij")), Model()
    rows = Rows.check(model, frame, reset=True)
    assert model.feature_names_in_.tolist() == list("abcdefghij")
    np.testing.assert_array_equal(rows.read().numpy(), X)
    with pytest.raises(ValueError, match="another order"):
        Rows.check_columns(model, frame[list("jihgfedcba")], "X_val")
    assert len(Rows.check_columns(model, frame.add_suffix("_"), "X_val")) == 500


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (torch.zeros(3), "expected a tensor of shape"),
        (torch.zeros(0, 3), "at least one row"),
        (torch.zeros(3, 2, dtype=torch.cfloat), "expected real numbers"),
        (np.zeros((3, 2), complex), "Complex data"),
        (np.zeros(3), "2D array"),
    ],
)
def test_what_is_no_rows_is_refused(values, said):
    with pytest.raises(ValueError, match=said):
        Rows.check(Model(), values, reset=True)


def test_the_device_of_a_tensor_wins():
    assert Rows(torch.zeros(2, 2, device="meta"), device="cpu").device.type == "meta"
    assert Rows(np.zeros((2, 2)), device="meta").device.type == "meta"
    with pytest.raises(ValueError, match="is not a torch device"):
        Rows(np.zeros((2, 2)), device="gpu")


# --- results ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_results_are_of_the_callers_kind(X, tmp_path, kind):
    rows = KINDS[kind](X, tmp_path)
    container = torch.Tensor if kind == "tensor" else np.ndarray
    new, numbers = rows.new_rows(3), rows.new_rows(dtype=torch.int64)
    assert isinstance(new, container)
    assert isinstance(rows.give_back(torch.ones(2)), container)
    assert tuple(new.shape) == (500, 3)
    assert tuple(numbers.shape) == (500,)
    assert str(new.dtype).endswith("float32")
    assert str(numbers.dtype).endswith("int64")
    assert rows.check_out(new, 3) is new
    with pytest.raises(ValueError, match=r"of shape \(500, 4\)"):
        rows.check_out(new, 4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int16, np.bool_])
def test_arrays_that_skip_the_checks_of_scikit_learn_would_come_back_from_them(dtype):
    model = PCA(2).fit(np.random.default_rng(0).random((9, 4)))
    X = np.ones((3, 4), dtype)
    assert checks._is_plain(model, X)
    assert checks.validate_rows(model, X, reset=False) is X
    assert validate_data(model, X, reset=False, dtype=None, ensure_all_finite=False) is X


@pytest.mark.parametrize(
    "X", [np.ones((3, 5)), np.ones((0, 4)), np.ones(4), np.ones((3, 4), complex), np.ones((3, 4), object), [[1.0] * 4]]
)
def test_all_others_meet_the_checks_of_scikit_learn(X):
    assert not checks._is_plain(PCA(2).fit(np.random.default_rng(0).random((9, 4))), X)


def test_a_model_fitted_on_a_frame_still_asks_for_names():
    frame = pd.DataFrame(np.random.default_rng(0).random((9, 4)), columns=list("abcd"))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        checks.validate_rows(PCA(2).fit(frame), frame.to_numpy(), reset=False)
