"""Searches and curves on the workers of a dask cluster, one of which is killed."""

import os
import random
import re
import signal
import sys
import textwrap
import time
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from skvardict import StandardDictionaryLearning
from skvardict.evaluation import low_label_curve, regret_curve

distributed = pytest.importorskip("distributed", reason="pip install skvardict[distributed]")
cloudpickle = pytest.importorskip("cloudpickle")
# Warnings of a cluster that loses a worker are its own.
pytestmark = pytest.mark.filterwarnings("ignore")

X = np.random.default_rng(0).standard_normal((600, 16)).astype(np.float32)
y = np.arange(600) % 3
ALPHAS = [0.01, 0.02, 0.05, 0.1]


@pytest.fixture(autouse=True)
def state_of_random():
    """Dask draws from `random`."""
    state = random.getstate()
    yield
    random.setstate(state)


@pytest.fixture(scope="module")
def cluster():
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not import tests
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.amm.stop()  # it takes away copies that no task waits for
        yield client
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def killed_once(rows, marker):
    """Return the rows, but for the first call: it kills its process."""
    marker = Path(marker)
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return rows


def coder(marker):
    """A pipeline whose first fit kills the worker that it runs on."""
    step = FunctionTransformer(killed_once, kw_args={"marker": str(marker)})
    return Pipeline([("kill", step), ("coder", StandardDictionaryLearning(8, max_iter=2, random_state=0))])


@pytest.fixture
def marker(tmp_path, cluster):
    workers = cluster.run(os.getpid)
    yield tmp_path / "killed"
    assert (tmp_path / "killed").exists()
    until = time.monotonic() + 60
    while time.monotonic() < until and len(cluster.scheduler_info()["workers"]) < 2:
        time.sleep(0.1)
    assert set(cluster.run(os.getpid).values()) != set(workers.values())  # one is another


def on_cluster(compute, **settings):
    with parallel_config(backend="dask", **settings):
        return compute()


def test_a_grid_search_is_complete_after_a_worker_was_killed(cluster, marker):
    splits = list(KFold(3).split(X))
    search = GridSearchCV(coder(marker), {"coder__alpha": ALPHAS}, cv=splits, refit=False)
    # What only one worker holds is lost with it: everything is sent to all.
    on_cluster(lambda: search.fit(X), scatter=[X, *chain.from_iterable(splits)])
    found = search.cv_results_["mean_test_score"]
    expected = GridSearchCV(coder(marker), {"coder__alpha": ALPHAS}, cv=splits, refit=False).fit(X)
    np.testing.assert_array_equal(found, expected.cv_results_["mean_test_score"])


def test_a_regret_curve_is_complete_after_a_worker_was_killed(cluster, marker):
    def curve():
        return regret_curve(coder(marker), X[:400], X[400:], alphas=ALPHAS, param_name="coder__alpha", n_jobs=2)

    found = on_cluster(curve)
    pd.testing.assert_frame_equal(found.drop(columns="fit_seconds"), curve().drop(columns="fit_seconds"))


def test_a_curve_of_few_labels_is_complete_after_a_worker_was_killed(cluster, marker):
    models = {"SDL": {alpha: coder(marker).set_params(coder__alpha=alpha) for alpha in ALPHAS}, "raw": "passthrough"}
    splits = [(X[where], y[where]) for where in (slice(300), slice(300, 450), slice(450, 600))]

    def curve():
        return low_label_curve(models, *splits, labels_per_class=[10], n_draws=2, Cs=[1.0], n_jobs=2)

    found = on_cluster(curve)
    pd.testing.assert_frame_equal(found.drop(columns="seconds"), curve().drop(columns="seconds"))


@pytest.fixture
def task_sizes(cluster, monkeypatch):
    """Bytes of the tasks that joblib hands to the cluster."""
    sizes, submit = [], type(cluster).submit

    def record(client, function, *args, **kwargs):
        if "tasks" in kwargs:
            sizes.append(len(cloudpickle.dumps(kwargs["tasks"])))
        return submit(client, function, *args, **kwargs)

    monkeypatch.setattr(type(cluster), "submit", record)
    return sizes


def test_curves_send_their_data_once(cluster, task_sizes):
    rows = np.random.default_rng(0).standard_normal((4000, 16)).astype(np.float32)
    labels = np.arange(4000) % 3
    model = StandardDictionaryLearning(8, max_iter=1, batch_size=2000)
    on_cluster(lambda: regret_curve(model, rows, rows, alphas=ALPHAS, n_seeds=2, fit_params={"X_val": rows}))
    models = {"SDL": model, "raw": "passthrough"}
    on_cluster(lambda: low_label_curve(models, *3 * [(rows, labels)], labels_per_class=[10], n_draws=1, Cs=[1.0]))
    assert len(task_sizes) == 8 + 2
    assert max(task_sizes) < 10_000 < rows.nbytes


def test_the_code_of_the_guide(cluster):
    page = Path(__file__).resolve().parents[2] / "docs" / "guide" / "large_data.rst"
    code = textwrap.dedent(re.search(r"   :name: cluster\n\n((?:   .*\n|\n)+)", page.read_text())[1])
    model = StandardDictionaryLearning(4, max_iter=1, batch_size=100, random_state=0)
    names = {"cluster": cluster.cluster, "model": model, "X": X, "X_train": X, "X_test": X}
    exec(code, names)
    assert len(names["table"]) == 9
    assert np.isfinite(names["search"].cv_results_["mean_test_score"]).all()
    names["client"].close()
