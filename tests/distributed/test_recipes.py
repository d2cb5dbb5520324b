"""The recipes of the guide's page on large data, as they stand there."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skvardict import VarianceDictionaryLearning

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "large_data.rst"
X = np.random.default_rng(0).standard_normal((250, 6)).astype(np.float32)
CHUNKS = [X[:100], X[100:200], X[200:]]


def recipe(name):
    """Return the code of the page that has this name."""
    found = re.search(rf"   :name: {name}\n\n((?:   .*\n|\n)+)", _PAGE.read_text())
    return textwrap.dedent(found[1])


def make_model():
    return VarianceDictionaryLearning(4, max_iter=2, random_state=0)


def npy(folder):
    for number, chunk in enumerate(CHUNKS):
        np.save(folder / f"{number}.npy", chunk)
    return {"folder": folder}


def zarr(folder):
    module = pytest.importorskip("zarr")
    array = module.create_array(store=folder / "rows.zarr", shape=X.shape, chunks=(100, 6), dtype=X.dtype)
    array[:] = X
    return {"store": folder / "rows.zarr"}


def parquet(folder):
    for number, chunk in enumerate(CHUNKS):
        pd.DataFrame(chunk, columns=list("abcdef")).to_parquet(folder / f"{number}.parquet")
    return {"folder": folder}


def dask(folder):
    return {"array": pytest.importorskip("dask.array").from_array(X, chunks=(100, 3))}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("store", [npy, zarr, parquet, dask], ids=lambda store: store.__name__)
def test_a_stream_from_a_store_gives_the_fit_of_its_chunks(store, tmp_path):
    expected = make_model().fit_stream(CHUNKS)
    names = {"np": np, "model": make_model(), **store(tmp_path)}
    exec(recipe(f"recipe-{store.__name__}"), names)
    assert (names["model"].components_ == expected.components_).all()
    if "codes" in names:
        np.testing.assert_allclose(names["codes"].compute(), expected.transform(X), rtol=1e-5, atol=1e-6)


def test_the_script_runs_in_a_single_process_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", X)
    names = {}
    exec(recipe("script").replace("128", "4"), names)
    assert names["model"].components_.shape == (4, 6)
    assert (tmp_path / "run.skv").exists()
