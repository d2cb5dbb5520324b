import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks as checks

from skvardict.preprocessing import GlobalStandardizer
from skvardict.rows import Rows

BY_HAND = [
    checks.check_set_output_transform,
    checks.check_set_output_transform_pandas,
    checks.check_set_output_transform_polars,
    checks.check_global_output_transform_pandas,
    checks.check_global_set_output_transform_polars,
    checks.check_transformer_get_feature_names_out,
    checks.check_transformer_get_feature_names_out_pandas,
    checks.check_param_validation,
    checks.check_inplace_ensure_writeable,
    checks.check_dataframe_column_names_consistency,
]


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(3.0, 2.0, size=(500, 12))


CASES = [
    case
    for scaler in (GlobalStandardizer(), GlobalStandardizer(mean=0.5, std=2.0))
    for case in checks.estimator_checks_generator(scaler)
]


@pytest.mark.parametrize(
    ("estimator", "check"),
    CASES,
    ids=lambda part: getattr(part, "func", part).__name__ if callable(part) else repr(part),
)
def test_scikit_learn_accepts_it(estimator, check):
    check(estimator)


# the set_output checks fit on frames and transform arrays, or the other way round, on purpose
@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names:UserWarning")
@pytest.mark.parametrize("check", BY_HAND, ids=lambda check: check.__name__)
def test_checks_that_scikit_learn_leaves_to_the_caller(check):
    check("GlobalStandardizer", GlobalStandardizer())


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("block_entries", [12, 12 * 7, 10**6])
def test_moments_are_those_of_the_whole_array(X, as_tensor, block_entries, read_in_blocks_of):
    read_in_blocks_of(block_entries)
    scaler = GlobalStandardizer().fit(torch.from_numpy(X) if as_tensor else X)
    assert type(scaler.mean_) is type(scaler.scale_) is float
    assert scaler.mean_ == pytest.approx(X.mean(), rel=1e-13)
    assert scaler.scale_ == pytest.approx(X.std(), rel=1e-13)
    Z = scaler.transform(X)
    np.testing.assert_allclose([Z.mean(), Z.std()], [0, 1], atol=1e-12)


def test_moments_of_float32_survive_a_large_offset(X):
    shifted = (X + 1e4).astype(np.float32)
    scaler = GlobalStandardizer().fit(shifted)
    assert scaler.scale_ == pytest.approx(shifted.astype(float).std(), rel=1e-9)


def test_given_values_are_used_and_the_other_one_is_learned(X):
    assert (
        vars(GlobalStandardizer(mean=0.1307, std=0.3081).fit(X)).items() >= {"mean_": 0.1307, "scale_": 0.3081}.items()
    )
    half = GlobalStandardizer(mean=1).fit(X)
    assert half.mean_ == 1.0
    assert half.scale_ == pytest.approx(X.std())


@pytest.mark.parametrize("value", [0.0, 0.1, -7e5])
def test_constant_data_become_zero(value):
    X = np.full((7, 3), value)
    scaler = GlobalStandardizer().fit(X)
    assert scaler.scale_ == 1.0
    np.testing.assert_allclose(scaler.transform(X), 0, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_the_inverse_gives_the_data_back_in_their_dtype(X, dtype, as_tensor):
    X = X.astype(dtype)
    rows = torch.from_numpy(X) if as_tensor else X
    scaler = GlobalStandardizer().fit(rows)
    Z = scaler.transform(rows)
    back = scaler.inverse_transform(Z)
    assert type(Z) is type(back) is type(rows)
    assert Z.dtype == back.dtype == rows.dtype
    # two roundings of numbers of size ten
    np.testing.assert_allclose(np.asarray(back), X, atol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, bool])
def test_every_other_dtype_becomes_float32(dtype):
    X = np.random.default_rng(0).integers(0, 2, size=(20, 4)).astype(dtype)
    for rows, float32 in ((X, np.float32), (torch.from_numpy(X), torch.float32)):
        scaler = GlobalStandardizer().fit(rows)
        assert scaler.mean_ == pytest.approx(X.astype(float).mean())
        assert scaler.transform(rows).dtype == float32
        assert scaler.inverse_transform(rows).dtype == float32
        np.testing.assert_allclose(
            np.asarray(scaler.transform(rows)), (X.astype(float) - scaler.mean_) / scaler.scale_, rtol=1e-5
        )


def test_tensors_and_arrays_get_the_same_values(X):
    scaler = GlobalStandardizer().fit(X)
    tensor = torch.from_numpy(X)
    np.testing.assert_allclose(scaler.transform(tensor).numpy(), scaler.transform(X), rtol=1e-14)
    assert GlobalStandardizer().fit(tensor.requires_grad_()).scale_ == pytest.approx(scaler.scale_)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_tensors_stay_on_their_device(X):
    tensor = torch.from_numpy(X).cuda()
    Z = GlobalStandardizer().fit_transform(tensor)
    assert Z.device == tensor.device
    np.testing.assert_allclose(Z.cpu().numpy(), GlobalStandardizer().fit_transform(X), rtol=1e-10)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_a_read_only_memory_map_is_never_converted_whole(tmp_path, dtype, monkeypatch, read_in_blocks_of):
    read_in_blocks_of(1000)
    data = np.random.default_rng(0).integers(0, 256, size=(300, 40)).astype(dtype)
    np.save(tmp_path / "rows.npy", data)
    X = np.load(tmp_path / "rows.npy", mmap_mode="r")
    seen = []
    original = Rows.read
    monkeypatch.setattr(Rows, "read", lambda self, start, stop: seen.append(self.X) or original(self, start, stop))
    scaler = GlobalStandardizer().fit(X)
    assert scaler.scale_ == pytest.approx(data.std(dtype=float))
    assert len(seen) > 10
    assert all(np.shares_memory(rows, X) for rows in seen)
    np.testing.assert_allclose(scaler.transform(X), (data - scaler.mean_) / scaler.scale_, rtol=1e-4, atol=1e-5)


def test_frames_keep_their_columns_and_index():
    frame = pd.DataFrame({"a": [0.0, 1.0], "b": [2.0, 3.0]}, index=["x", "y"])
    result = GlobalStandardizer().set_output(transform="pandas").fit_transform(frame)
    assert list(result.columns) == ["a", "b"]
    assert list(result.index) == ["x", "y"]


def test_it_works_in_a_pipeline_and_does_not_change_its_parameters(X):
    pipeline = make_pipeline(GlobalStandardizer(), GlobalStandardizer(mean=1.0))
    np.testing.assert_allclose(pipeline.inverse_transform(pipeline.fit_transform(X)), X, rtol=1e-10)
    assert clone(pipeline[1]).get_params() == {"mean": 1.0, "std": None}


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan"), float("inf")])
def test_a_standard_deviation_has_to_be_positive_and_a_mean_finite(X, std):
    with pytest.raises(ValueError, match="expects std > 0"):
        GlobalStandardizer(std=std).fit(X)
    with pytest.raises(ValueError, match="expects a finite mean, but got nan"):
        GlobalStandardizer(mean=float("nan")).fit(X)


def test_bad_rows_of_a_memory_map_are_noticed_on_the_way_through(tmp_path, X):
    damaged = X.copy()
    damaged[7, 3] = np.nan
    np.save(tmp_path / "rows.npy", damaged)
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    scaler = GlobalStandardizer(mean=0.0, std=1.0).fit(X)
    for method in (scaler.transform, scaler.inverse_transform):
        with pytest.raises(ValueError, match=r"X contains NaN or infinity .* row 7"):
            method(rows)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (torch.ones(3), "shape .* but got"),
        (torch.ones(0, 3), r"got \(0, 3\)"),
        (torch.ones(2, 2, 2), r"got \(2, 2, 2\)"),
        (torch.tensor([[1.0, float("nan")]]), "NaN or infinity"),
        (torch.ones(2, 2, dtype=torch.complex64), "real numbers"),
    ],
)
def test_unfit_tensors_are_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        GlobalStandardizer().fit(rows)


@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.parametrize("method", ["transform", "inverse_transform"])
def test_another_number_of_features_is_refused(X, as_tensor, method):
    scaler = GlobalStandardizer().fit(X)
    rows = torch.ones(2, 5) if as_tensor else np.ones((2, 5))
    with pytest.raises(ValueError, match=r"5 features.*12 features|12 features.*has 5"):
        getattr(scaler, method)(rows)


STAMPS = 10**8 + np.arange(400).reshape(100, 4)


@pytest.mark.parametrize(
    "rows",
    [
        STAMPS,
        STAMPS.astype(np.int32),
        STAMPS.astype(">i8"),
        torch.from_numpy(STAMPS),
        pd.DataFrame(STAMPS),
        pd.DataFrame(STAMPS, columns=list("abcd")).convert_dtypes(),
        STAMPS.tolist(),
    ],
    ids=["int64", "int32", "big-endian", "tensor", "frame", "nullable", "list"],
)
def test_long_integers_keep_their_differences(rows):
    Z = GlobalStandardizer().fit_transform(rows)
    assert str(Z.dtype).endswith("float32")
    exact = (STAMPS - STAMPS.mean()) / STAMPS.std()
    np.testing.assert_allclose(np.asarray(Z), exact, rtol=2e-7)
    assert len(np.unique(np.asarray(Z))) == 400


def test_differences_that_cannot_be_kept_are_said():
    with pytest.warns(UserWarning, match=r"numbers closer than 1\.4e\+04 become equal. Pass X\.astype\(float\)"):
        GlobalStandardizer().fit((STAMPS - 10**8) * 10**9)
    GlobalStandardizer().fit((STAMPS - 10**8) * 1e9)
