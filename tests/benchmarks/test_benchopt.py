"""The benchopt benchmark runs by benchopt's own command, on small data."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("benchopt", reason="benchopt is not installed (dependency group dev)")
_BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "benchopt_dictionary_learning"
_DATA = "planted[n_samples=200,n_components=8]"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    output = tmp_path_factory.mktemp("benchopt") / "results"
    solvers = [part for name in ("skvardict", "scikit-learn", "NMF") for part in ("-s", name)]
    options = ["-d", _DATA, *solvers, "--n-repetitions", "1", "--max-runs", "3", "--timeout", "60"]
    command = [sys.executable, "-m", "benchopt", "run", str(_BENCHMARK), *options, "--no-plot", "--no-display"]
    done = subprocess.run([*command, "--output", str(output)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return pd.read_parquet(output.with_suffix(".parquet"))


def test_every_solver_gives_a_curve(results):
    n_points = results.groupby(["solver_name", "objective_name"]).size()
    assert {name.split("[")[0] for name, _ in n_points.index} >= {"skvardict", "scikit-learn"}
    assert (n_points >= 3).all()
    assert results["objective_value"].gt(0).all()


def test_learnt_dictionaries_beat_the_rows_that_learning_starts_from(results):
    positive = results[results["objective_name"].str.contains("positive_code=True")]
    rows = positive[positive["solver_name"].str.contains("mini-batch") & (positive["stop_val"] == 0)]
    ours = positive[positive["solver_name"].str.contains("encoder=None")]
    assert ours["objective_value"].min() < 0.9 * rows["objective_value"].iloc[0]
