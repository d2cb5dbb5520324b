import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

pytest.importorskip("matplotlib")

from benchmarks import reproduce_vdl
from benchmarks._results import _portable
from skvardict import VarianceDictionaryLearning
from skvardict.preprocessing import GlobalStandardizer
from skvardict.solvers import FISTA

RUN = ["--epochs", "1", "--nonlinear-epochs", "1", "--seeds", "0"]


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """Runs commands on digits instead of MNIST, and returns the table they write."""
    X, y = load_digits(return_X_y=True)
    X = GlobalStandardizer().fit_transform(X / 16).astype(np.float32)
    cuts = {"train": slice(0, 1000), "validation": slice(1000, 1300), "test": slice(1300, None)}
    rows = reproduce_vdl.Rows(*(X[cut] for cut in cuts.values()), {split: y[cut] for split, cut in cuts.items()})
    monkeypatch.setattr(reproduce_vdl, "load_mnist", lambda arguments: rows)
    monkeypatch.setattr(reproduce_vdl.torch, "set_num_threads", lambda n: None)

    def run(*argv):
        reproduce_vdl.main([*argv, *RUN, "--runs", str(tmp_path / "runs"), "--results", str(tmp_path)])
        tables = [path for path in tmp_path.glob("*.csv") if path.stem.count("_") == 1]
        return pd.read_csv(max(tables, key=lambda path: path.stat().st_mtime_ns)) if tables else None

    return run


def test_a_step_size_replaces_that_of_the_table():
    steps = {
        size: reproduce_vdl.build("VDL", "mnist", alpha=0.02, step_size=size).solver.step_size for size in (1, "auto")
    }
    assert steps == {1: 1, "auto": "auto"}
    assert reproduce_vdl.build("VDL", "mnist", alpha=0.02).solver.step_size == 0.5


def test_the_automatic_training_keeps_the_model_and_drops_the_papers_fit():
    table3 = reproduce_vdl.build("VDL-NL", "patches", alpha=0.02, max_iter=7, random_state=3)
    ours = reproduce_vdl.build("VDL-NL", "patches", alpha=0.02, max_iter=7, random_state=3, training="automatic")
    default = VarianceDictionaryLearning()
    for name in ("optimizer", "batch_size", "max_iter", "init"):
        assert getattr(ours, name) == getattr(default, name)
    assert repr(ours.solver) == repr(FISTA())
    for name in ("alpha", "beta", "gamma", "n_components", "std_threshold", "random_state"):
        assert getattr(ours, name) == getattr(table3, name)
    assert ours.decoder.hidden_layer_sizes == (2048,)


def test_models_are_shared_by_commands_and_not_fitted_again(commands, tmp_path, capsys):
    first = commands("variants", "--kinds", "SDL", "VDL")
    assert first["model"].tolist() == ["SDL", "VDL"]
    models = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "models").iterdir()}
    again = commands("variants", "--kinds", "SDL", "VDL")
    pd.testing.assert_frame_equal(first, again)
    table = commands("table1", "--kinds", "SDL", "VDL")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "models").iterdir()} == models
    assert table["sigma"].tolist() == [0.0, 1.0, 1.5] * 2
    assert table["published_psnr"].tolist() == [17.3, 16.9, 15.7, 17.7, 15.4, 12.2]
    header = json.loads((tmp_path / "vdl_table1.json").read_text())
    assert header["command"].startswith("python -m benchmarks.reproduce_vdl table1 --kinds SDL VDL --epochs 1")
    assert str(tmp_path) not in json.dumps(header)
    assert set(header["versions"]) == {"python", "torch", "numpy", "scikit-learn"}


@pytest.mark.filterwarnings("ignore:.*never active:UserWarning")  # an epoch of few rows
def test_curves_and_few_labels_share_models(commands, tmp_path):
    grid = ["--kinds", "SDL", "VDL", "--alphas", "0.01", "0.1"]
    assert len(commands("regret", *grid)) == 4
    models = list((tmp_path / "runs" / "models").iterdir())
    summary = commands("low-labels", *grid, "--labels-per-class", "2", "--draws", "2")
    assert list((tmp_path / "runs" / "models").iterdir()) == models
    assert set(pd.read_csv(tmp_path / "vdl_low_labels.csv")["model"]) == {"raw pixels", "LISTA + linear", "SDL", "VDL"}
    assert summary is not None
    draws = pd.read_csv(tmp_path / "vdl_low_labels_draws.csv")
    assert set(draws["classifier"]) == {"logistic", "sgd-linear", "own"}
    differences = pd.read_csv(tmp_path / "vdl_low_labels_differences.csv")
    assert "raw pixels" not in set(differences["model"])
    assert {path.name for path in tmp_path.glob("*.png")} == {"vdl_regret.png", "vdl_low_labels.png"}


def test_commands_are_written_without_the_folders_of_this_machine():
    given = ["patches", "--runs", "/x/y", "--epochs", "3", "--results=/z", "--images", "/p", "--seeds", "1"]
    assert _portable(given) == ["patches", "--epochs", "3", "--images", "FOLDER", "--seeds", "1"]


@pytest.mark.filterwarnings("ignore:.*never active:UserWarning")  # an epoch of few rows
def test_commands_on_patches_of_photographs(commands, tmp_path):
    photographs, rng = tmp_path / "photographs", np.random.default_rng(0)
    photographs.mkdir()
    for number in range(12):
        Image.fromarray(rng.integers(0, 255, size=(70, 90), dtype=np.uint8)).save(photographs / f"{number}.png")
    common = ["--images", str(photographs), "--n-train", "300", "--kinds", "VDL"]
    table = commands("patches", *common, "--alphas", "0.005", "0.01", "--floor", "crop")
    assert table["alpha"].tolist() == [0.005, 0.005, 0.01, 0.01]
    assert table["floor"].eq("crop").all()
    commands("regret-patches", *common, "--n-alphas", "2")
    assert pd.read_csv(tmp_path / "vdl_regret_patches.csv")["alpha"].tolist() == [0.01, 0.015]
