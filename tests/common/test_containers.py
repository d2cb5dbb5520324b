"""Every container x everything that takes rows or codes: numbers decide on the dtype, not what holds them."""

import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch

from skvardict import SparseCoder, SparseVAE, StandardDictionaryLearning, alpha_max, metrics, sparse_encode
from skvardict.preprocessing import GlobalStandardizer, LocalContrastNormalizer
from skvardict.rows import as_numbers, to_array

D = 25
X = np.random.default_rng(0).standard_normal((40, D))
COUNTS = (10 * X).astype(np.int64)
NAMES = [f"f{index}" for index in range(D)]
FRAME = pd.DataFrame(X, columns=NAMES)
TENSOR = torch.from_numpy(X)
ATOMS = np.random.default_rng(1).standard_normal((3, D))
SETTINGS = {"max_iter": 1, "random_state": 0}

DOUBLE = {
    "array": X,
    "Fortran order": np.asfortranarray(X),
    "read-only": np.frombuffer(X.tobytes()).reshape(X.shape),
    "big-endian": X.astype(">f8"),
    "long double": X.astype(np.longdouble),
    "list": X.tolist(),
    "list of arrays": list(X),
    "list of tensors": list(TENSOR),
    "objects": X.astype(object),
    "decimals": [[Decimal(str(value)) for value in row] for row in X],
    "masked array without masked entries": np.ma.masked_array(X),
    "pandas": FRAME,
    "pandas, nullable": FRAME.convert_dtypes(),
    "pandas of arrow": FRAME.convert_dtypes(dtype_backend="pyarrow"),
    "pandas, sparse": FRAME.astype(pd.SparseDtype("float64")),
    "pandas, one column of integers": FRAME.assign(f0=COUNTS[:, 0]),
    "pandas, one column of booleans": FRAME.assign(f0=X[:, 0] > 0),
    "pandas, categories": FRAME.round(1).astype("category"),
    "polars": pl.DataFrame(X, schema=NAMES),
    "polars, one column of integers": pl.DataFrame(X, schema=NAMES).with_columns(pl.col("f0").cast(pl.Int64)),
    "tensor": TENSOR,
    "tensor of a graph": TENSOR.clone().requires_grad_(),
    "transposed tensor": TENSOR.mT.contiguous().mT,
}
SINGLE = {
    "float32": X.astype(np.float32),
    "float16": X.astype(np.float16),
    "big-endian float32": X.astype(">f4"),
    "integers": COUNTS,
    "bytes": np.abs(COUNTS).astype(np.uint8),
    "booleans": X > 0,
    "list of integers": COUNTS.tolist(),
    "integers as objects": COUNTS.astype(object),
    "pandas of float32": FRAME.astype("float32"),
    "pandas of integers": pd.DataFrame(COUNTS, columns=NAMES),
    "pandas of nullable integers": pd.DataFrame(COUNTS, columns=NAMES).convert_dtypes(),
    "polars of integers": pl.DataFrame(COUNTS, schema=NAMES),
    "polars of float32": pl.DataFrame(X.astype(np.float32), schema=NAMES),
    "tensor of float32": TENSOR.float(),
    "tensor of float16": TENSOR.half(),
    "tensor of bfloat16": TENSOR.bfloat16(),
    "tensor of integers": torch.from_numpy(COUNTS),
    "tensor of 16 bits": torch.from_numpy(np.abs(COUNTS)).to(torch.int32).to(torch.uint16),
}
HOLED = X.copy()
HOLED[0, 0] = np.nan
MISSING = {
    "NaN": HOLED,
    "None": np.where(np.isnan(HOLED), None, HOLED.astype(object)),
    "masked array": np.ma.masked_array(X, mask=np.isnan(HOLED)),
    "list of masked arrays": list(np.ma.masked_array(X, mask=np.isnan(HOLED))),
    "pandas, nullable": pd.DataFrame(HOLED, columns=NAMES).convert_dtypes(),
    "pandas of nullable integers": pd.DataFrame(COUNTS, columns=NAMES).convert_dtypes().where(~np.isnan(HOLED)),
    "polars": pl.DataFrame(
        {name: [None if np.isnan(v) else float(v) for v in HOLED[:, i]] for i, name in enumerate(NAMES)}
    ),
    "tensor": torch.from_numpy(HOLED),
}
NO_NUMBERS = {
    "dates": X.astype("M8[s]"),
    "durations": (100 * X).astype("m8[s]"),
    "records": np.zeros((40, D), dtype=[("a", "f4")]),
    "record array": np.rec.array(np.zeros(40, dtype=[("a", "f4"), ("b", "f8")])),
    "complex": X + 1j,
    "strings": X.astype(str),
    "bytes of text": X.astype("S8"),
    "objects": np.where(np.isnan(HOLED), {"a": 1}, X.astype(object)),
    "pandas, a column of dates": FRAME.assign(f0=pd.Timestamp("2020-01-01")),
    "pandas, a column of dates with a zone": FRAME.assign(f0=pd.Timestamp("2020-01-01", tz="UTC")),
    "pandas, a column of strings": FRAME.assign(f0="x"),
    "polars, a column of dates": pl.DataFrame(X, schema=NAMES).with_columns(pl.lit(0).cast(pl.Date).alias("f0")),
    "sparse matrix": sp.csr_matrix(X),
    "sparse tensor": TENSOR.to_sparse(),
    "complex tensor": TENSOR + 1j,
    "meta tensor": TENSOR.to("meta"),
    "tensor of 8-bit floats": TENSOR.to(torch.float8_e4m3fn),
    "tensor of other 8-bit floats": TENSOR.to(torch.float8_e5m2),
    "words": "words",
    "dictionary": {"a": 1},
    "ragged list": [[1.0, 2.0], [3.0]],
    "generator": (row for row in X),
}
with warnings.catch_warnings():  # of torch: these kinds are not finished, or about to go
    warnings.simplefilter("ignore")
    NO_NUMBERS |= {
        "CSR tensor": TENSOR.to_sparse_csr(),
        "nested tensor": torch.nested.nested_tensor([TENSOR, TENSOR]),
        "jagged tensor": torch.nested.nested_tensor([TENSOR, TENSOR], layout=torch.jagged),
        "quantised tensor": torch.quantize_per_tensor(TENSOR.float(), 0.1, 0, torch.qint8),
    }

coder = StandardDictionaryLearning(3, **SETTINGS).fit(X)
square = StandardDictionaryLearning(D, **SETTINGS).fit(X)
scaler = GlobalStandardizer().fit(X)
TAKE_ROWS = {
    "fit": lambda rows: StandardDictionaryLearning(3, **SETTINGS).fit(rows).components_,
    "fit of a variational model": lambda rows: SparseVAE(3, **SETTINGS).fit(rows).components_,
    "fit with missing entries": lambda rows: (
        StandardDictionaryLearning(3, missing="mask", **SETTINGS).fit(rows).components_
    ),
    "partial_fit": lambda rows: StandardDictionaryLearning(3, **SETTINGS).partial_fit(rows).components_,
    "fit_stream": lambda rows: StandardDictionaryLearning(3, **SETTINGS).fit_stream([rows]).components_,
    "transform": coder.transform,
    "encode": lambda rows: coder.encode(rows).codes,
    "reconstruct": coder.reconstruct,
    "reconstruction_error": coder.reconstruction_error,
    "inverse_transform": square.inverse_transform,
    "elbo": SparseVAE(3, **SETTINGS).fit(X).elbo,
    "sparse_encode": lambda rows: sparse_encode(rows, ATOMS, alpha=0.1),
    "SparseCoder": lambda rows: SparseCoder(ATOMS, alpha=0.1).fit(rows).transform(rows),
    "inverse_transform of SparseCoder": lambda rows: SparseCoder(np.eye(D), alpha=0.1).inverse_transform(rows),
    "GlobalStandardizer": lambda rows: GlobalStandardizer().fit(rows).transform(rows),
    "inverse_transform of GlobalStandardizer": scaler.inverse_transform,
    "LocalContrastNormalizer": lambda rows: (
        LocalContrastNormalizer(image_shape=(5, 5), window_size=3).fit(rows).transform(rows)
    ),
}
GIVE_NUMBERS = {  # or what does not depend on the dtype of what is given
    "score": coder.score,
    "y of score": lambda rows: coder.score(X, rows),
    "energy": coder.energy,
    "X_val": lambda rows: StandardDictionaryLearning(3, **SETTINGS).fit(X, X_val=rows),
    "init": lambda rows: StandardDictionaryLearning(len(X), init=rows, **SETTINGS).fit(X),
    "components of sparse_encode": lambda rows: sparse_encode(X[:2], rows, alpha=0.1),
    "dictionary of SparseCoder": lambda rows: SparseCoder(rows, alpha=0.1).transform(X[:2]),
    "alpha_max": lambda rows: alpha_max(rows, ATOMS),
    "sparsity": metrics.sparsity,
    "dead_components": metrics.dead_components,
    "r2": lambda rows: metrics.r2(X, rows),
    "psnr": lambda rows: metrics.psnr(X, rows),
    "multi_information": metrics.multi_information,
}
NEED_NO_FINITE_ROWS = {"sparsity", "dead_components", "fit with missing entries"}
TAKE_SPARSE_CODES = {"inverse_transform", "inverse_transform of SparseCoder", "sparsity", "dead_components"}

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(mean square|column means|feature names|never active|collapsed|unused):UserWarning"
)


METHODS = {**TAKE_ROWS, **GIVE_NUMBERS}
LABELS = {"words", "dictionary", "generator", "record array"}  # `score` ignores what has no two axes
EXPECTED = ("real numbers", "expected numbers", "dense", "array of numbers", "array-like", "Complex")


def outcomes(method, containers):
    """Return what became of every container: an array, a number or an estimator, or the error."""
    found = {}
    for container, rows in containers.items():
        try:
            found[container] = METHODS[method](rows)
        except Exception as error:
            found[container] = error
    return found


def dtypes(results):
    return {
        name: str(getattr(result, "dtype", repr(result))).removeprefix("torch.") for name, result in results.items()
    }


@pytest.mark.parametrize("method", TAKE_ROWS)
def test_double_precision_is_kept_whatever_holds_it(method):
    results = outcomes(method, DOUBLE)
    assert dtypes(results) == dict.fromkeys(DOUBLE, "float64")
    if not method.startswith(("fit", "partial_fit")):
        tensors = {name for name, result in results.items() if isinstance(result, torch.Tensor)}
        assert tensors == {name for name, rows in DOUBLE.items() if isinstance(rows, torch.Tensor)}


@pytest.mark.parametrize("method", TAKE_ROWS)
def test_everything_else_becomes_single_precision(method):
    assert dtypes(outcomes(method, SINGLE)) == dict.fromkeys(SINGLE, "float32")


@pytest.mark.parametrize("container", sorted(DOUBLE.keys() - {"pandas, categories", "decimals"}))
def test_numbers_are_the_same_in_every_container(container):
    numbers, expected = to_array(as_numbers(DOUBLE[container])), X.copy()
    if "integers" in container:
        expected[:, 0] = COUNTS[:, 0] if "pandas" in container else np.trunc(X[:, 0])
    if "booleans" in container:
        expected[:, 0] = X[:, 0] > 0
    np.testing.assert_array_equal(numbers, expected)


@pytest.mark.parametrize("method", GIVE_NUMBERS)
def test_numbers_are_taken_from_every_container(method):
    assert not {name: r for name, r in outcomes(method, {**DOUBLE, **SINGLE}).items() if isinstance(r, Exception)}


@pytest.mark.parametrize("method", METHODS)
def test_what_is_no_real_numbers_is_said(method):
    left_out = ({"sparse matrix"} if method in TAKE_SPARSE_CODES else set()) | (
        LABELS if method == "y of score" else set()
    )
    results = outcomes(method, {name: rows for name, rows in NO_NUMBERS.items() if name not in left_out})
    for container, error in results.items():
        assert isinstance(error, TypeError | ValueError), (container, error)
        assert any(words in str(error) for words in EXPECTED), (container, error)


@pytest.mark.parametrize("method", [name for name in METHODS if name not in NEED_NO_FINITE_ROWS])
def test_missing_entries_are_never_read_as_numbers(method):
    only_masks = method.startswith("inverse_transform")  # NaN goes in, NaN comes out
    containers = {name: rows for name, rows in MISSING.items() if "masked" in name or not only_masks}
    for container, error in outcomes(method, containers).items():
        assert isinstance(error, ValueError), (container, error)
        assert "NaN" in str(error) or "masked" in str(error), (container, error)


@pytest.mark.parametrize("container", MISSING)
def test_missing_entries_are_missing_whatever_says_so(container):
    def fit(rows):
        return StandardDictionaryLearning(3, missing="mask", **SETTINGS).fit(rows)

    holed = np.where(np.isnan(HOLED), np.nan, COUNTS) if "integers" in container else HOLED
    np.testing.assert_array_equal(fit(MISSING[container]).components_, fit(holed).components_)


@pytest.mark.parametrize("frame", ["pandas", "polars"])
@pytest.mark.parametrize(
    "make", [lambda: StandardDictionaryLearning(3, **SETTINGS), lambda: SparseCoder(ATOMS), GlobalStandardizer]
)
@pytest.mark.parametrize("rows", [TENSOR, TENSOR.clone().requires_grad_(), TENSOR[:3], TENSOR.bfloat16()])
def test_frames_are_made_of_tensors_too(make, frame, rows):
    kind = {"pandas": pd.DataFrame, "polars": pl.DataFrame}[frame]
    estimator = make().fit(X)
    assert isinstance(estimator.transform(rows), torch.Tensor)
    assert isinstance(estimator.set_output(transform=frame).transform(rows), kind)
