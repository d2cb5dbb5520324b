import json
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import NMF, PCA
from sklearn.exceptions import FitFailedWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skvardict.evaluation._regret as regret_module
import skvardict.model_selection._blocks as blocks_module
from skvardict import StandardDictionaryLearning, VarianceDictionaryLearning
from skvardict.evaluation import evaluate_codes, fit_or_load, regret_curve, regret_summary
from skvardict.evaluation._codes import seed_names
from skvardict.metrics import psnr, sparsity
from skvardict.preprocessing import GlobalStandardizer
from skvardict.storage.fingerprint import fingerprint

X = GlobalStandardizer().fit_transform(load_digits().data / 16).astype(np.float32)
TRAIN, TEST = X[:400], X[400:600]


@pytest.fixture
def count_measurements(monkeypatch):
    """The points that were really computed, as alphas of the estimators that were measured."""
    measured = []

    def count(estimator, *args, **kwargs):
        measured.append(estimator)
        return evaluate_codes(estimator, *args, **kwargs)

    monkeypatch.setattr(regret_module, "evaluate_codes", count)
    return measured


def small_vdl(**changes):
    return VarianceDictionaryLearning(**{"n_components": 16, "max_iter": 2, "batch_size": 100, **changes})


def test_measures_of_codes_are_those_of_the_metrics():
    pca = PCA(8).fit(TRAIN)
    codes = pca.transform(TEST)
    codes[np.abs(codes) < 1] = 0

    class Thresholded:
        transform = staticmethod(lambda X: codes)
        inverse_transform = staticmethod(pca.inverse_transform)

    row = evaluate_codes(Thresholded(), TEST, data_range=2.0)
    assert row["psnr"] == psnr(TEST, pca.inverse_transform(codes), data_range=2.0)
    assert row["sparsity"] == sparsity(codes) > 0.1
    assert row["l1"] == pytest.approx(np.abs(codes).sum() / len(codes))
    assert row["component_std"] == pytest.approx(np.std(codes, axis=0, ddof=1).mean())
    shifted = evaluate_codes(Thresholded(), TEST, to_pixels=lambda rows: 3 * rows + 1, data_range=6.0)
    assert shifted["psnr"] == pytest.approx(row["psnr"])


def test_an_estimator_without_a_way_back_is_named():
    with pytest.raises(TypeError, match="KMeans has no inverse_transform"):
        evaluate_codes(KMeans(2, n_init=1, random_state=0).fit(TRAIN), TEST)


def test_every_point_of_the_grid_is_fitted_as_it_says():
    models = {"VDL": small_vdl(), "SDL": StandardDictionaryLearning(16, max_iter=2, batch_size=100)}
    alphas = {"VDL": [0.01, 0.3], "SDL": [0.02]}
    table = regret_curve(models, TRAIN, TEST, alphas=alphas, seeds=[0, 1])
    assert table[["model", "alpha", "seed"]].values.tolist() == [
        *[["VDL", a, s] for a in (0.01, 0.3) for s in (0, 1)],
        *[["SDL", 0.02, s] for s in (0, 1)],
    ]
    for _, row in table.iloc[[0, 3]].iterrows():
        alone = evaluate_codes(small_vdl(alpha=row["alpha"], random_state=row["seed"]).fit(TRAIN), TEST)
        assert {name: row[name] for name in alone} == pytest.approx(alone)
    assert table.loc[0, "psnr"] != pytest.approx(table.loc[3, "psnr"])
    assert (table["n_iter"] == 2).all()


def test_scikit_learn_estimators_and_pipelines_take_part():
    def pipeline(**changes):
        return make_pipeline(StandardScaler(with_mean=False), NMF(8, init="random", tol=1e-1, max_iter=500, **changes))

    rows = load_digits().data[:300]
    table = regret_curve(pipeline(), rows, rows, alphas=[0.0, 0.05], seeds=[3], param_name="nmf__alpha_W")
    assert table["model"].tolist() == ["Pipeline"] * 2
    alone = pipeline(alpha_W=0.05, random_state=3).fit(rows)
    assert table.loc[1, "psnr"] == evaluate_codes(alone, rows)["psnr"] != table.loc[0, "psnr"]
    assert table.loc[1, "n_iter"] == alone[-1].n_iter_


def test_an_estimator_without_randomness_is_fitted_once_per_alpha():
    from sklearn.decomposition import DictionaryLearning, SparseCoder

    coder = SparseCoder(np.eye(64), transform_algorithm="lasso_cd")
    with pytest.raises(ValueError, match="SparseCoder has no such parameter"):
        regret_curve(coder, TRAIN, TEST, alphas=[1.0])
    assert seed_names(coder) == []
    assert seed_names(DictionaryLearning()) == ["random_state"]


def test_points_computed_in_processes_are_the_same():
    arguments = {"alphas": [0.01, 0.1], "seeds": [0]}
    apart = regret_curve(small_vdl(), TRAIN, TEST, n_jobs=2, **arguments).drop(columns="fit_seconds")
    pd.testing.assert_frame_equal(
        apart, regret_curve(small_vdl(), TRAIN, TEST, **arguments).drop(columns="fit_seconds"), rtol=1e-3
    )


def test_finished_points_are_found_again_and_others_are_not(tmp_path, count_measurements):
    first = regret_curve(small_vdl(), TRAIN, TEST, alphas=[0.01, 0.1], folder=tmp_path)
    again = regret_curve(small_vdl(verbose=0), TRAIN, TEST, alphas=[0.1, 0.01, 0.2], folder=tmp_path)
    assert [model.alpha for model in count_measurements] == [0.01, 0.1, 0.2]
    pd.testing.assert_frame_equal(again.iloc[:2][::-1].reset_index(drop=True), first)
    regret_curve(small_vdl(beta=1.0), TRAIN, TEST, alphas=[0.01], folder=tmp_path)
    regret_curve(small_vdl(), TRAIN[::-1].copy(), TEST, alphas=[0.01], folder=tmp_path)
    regret_curve(small_vdl(), TRAIN, TEST, alphas=[0.01], data_range=2.0, folder=tmp_path)
    assert len(count_measurements) == 6


def test_a_killed_curve_loses_no_finished_point_and_computes_none_twice(tmp_path, count_measurements):
    script = f"""
        import os, signal
        import skvardict.evaluation._regret as regret_module
        from tests.evaluation.test_regret import TEST, TRAIN, small_vdl

        measured = []

        def kill_in_the_third(*args, measure=regret_module.evaluate_codes, **kwargs):
            measured.append(0)
            if len(measured) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return measure(*args, **kwargs)

        regret_module.evaluate_codes = kill_in_the_third
        regret_module.regret_curve(small_vdl(), TRAIN, TEST, alphas=[0.01, 0.05, 0.1, 0.2], folder={str(tmp_path)!r})
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    killed = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    kept = [json.loads(path.read_text())["origin"]["alpha"] for path in tmp_path.glob("*.json")]
    assert sorted(kept) == [0.01, 0.05]

    table = regret_curve(small_vdl(), TRAIN, TEST, alphas=[0.01, 0.05, 0.1, 0.2], folder=tmp_path)
    assert [model.alpha for model in count_measurements] == [0.1, 0.2]
    unbroken = regret_curve(small_vdl(), TRAIN, TEST, alphas=[0.01, 0.05, 0.1, 0.2])
    columns = ["alpha", "psnr", "sparsity", "l1", "n_dead"]
    pd.testing.assert_frame_equal(table[columns], unbroken[columns], rtol=1e-3)


def test_a_damaged_file_is_said_and_computed_again(tmp_path):
    first = regret_curve(small_vdl(), TRAIN, TEST, alphas=[0.01], folder=tmp_path)
    (path,) = tmp_path.glob("*.json")
    path.write_text(path.read_text()[:40])
    with pytest.warns(UserWarning, match="is damaged"):
        again = regret_curve(small_vdl(), TRAIN, TEST, alphas=[0.01], folder=tmp_path)
    pd.testing.assert_frame_equal(first.drop(columns="fit_seconds"), again.drop(columns="fit_seconds"), rtol=1e-4)
    assert json.loads(path.read_text())["result"]["error"] == ""


def test_a_point_that_fails_is_named_and_tried_again(tmp_path):
    with pytest.warns(FitFailedWarning, match=r"1 of 2 points failed.*alpha=-1"):
        table = regret_curve(small_vdl(), TRAIN, TEST, alphas=[-1, 0.01], folder=tmp_path)
    assert table["psnr"].isna().tolist() == [True, False]
    assert len(list(tmp_path.glob("*.json"))) == 1
    with pytest.raises(ValueError, match="all 1 points failed"):
        regret_curve(small_vdl(), TRAIN, TEST, alphas=[-1])


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="alphas has no entry for 'VDL'"):
        regret_curve({"VDL": small_vdl()}, TRAIN, TEST, alphas={"SDL": [0.1]})
    with pytest.raises(ValueError, match="keep_models=True needs a folder"):
        regret_curve(small_vdl(), TRAIN, TEST, alphas=[0.1], keep_models=True)
    with pytest.raises(ValueError, match="nothing to do: alphas is empty"):
        regret_curve(small_vdl(), TRAIN, TEST, alphas=[])
    with pytest.raises(ValueError, match="nothing to do: seeds is empty"):
        regret_curve(small_vdl(), TRAIN, TEST, alphas=[0.1], seeds=[])
    with pytest.raises(ValueError, match="empty mapping"):
        regret_curve({}, TRAIN, TEST, alphas=[0.1])


def test_kept_models_are_those_that_were_measured(tmp_path):
    table = regret_curve(small_vdl(), TRAIN, TEST, alphas=[0.05], seeds=[2], folder=tmp_path, keep_models=True)
    (path,) = (tmp_path / "models").glob("*.joblib")
    before = path.stat().st_mtime_ns
    model = fit_or_load(small_vdl(alpha=0.05, random_state=2), TRAIN, folder=tmp_path / "models")
    assert path.stat().st_mtime_ns == before
    assert evaluate_codes(model, TEST)["psnr"] == table.loc[0, "psnr"]


@pytest.mark.parametrize("n_bytes", [0, 10, -3])
def test_a_damaged_model_is_said_and_fitted_again(tmp_path, n_bytes):
    first = fit_or_load(PCA(2), TRAIN, folder=tmp_path)
    (path,) = tmp_path.glob("*.joblib")
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.warns(UserWarning, match=rf"{path.name} cannot be read .* fitted again"):
        again = fit_or_load(PCA(2), TRAIN, folder=tmp_path)
    np.testing.assert_array_equal(first.components_, again.components_)
    assert fit_or_load(PCA(2), TRAIN, folder=tmp_path).fit_seconds_ == again.fit_seconds_


def test_models_of_other_columns_are_other_models(tmp_path):
    frames = [pd.DataFrame(TRAIN[:, :3], columns=list(names)) for names in ("abc", "ABC")]
    for rows in (*frames, TRAIN[:, :3]):
        model = fit_or_load(PCA(2), rows, folder=tmp_path)
        assert list(getattr(model, "feature_names_in_", [])) == list(getattr(rows, "columns", []))
    assert len(list(tmp_path.glob("*.joblib"))) == 3


def test_values_that_are_no_numbers_are_swept_and_named():
    with pytest.warns(FitFailedWarning, match=r"alpha=wrong, seed=0: .*svd_solver"):
        table = regret_curve(PCA(2), TRAIN, TEST, alphas=["full", "wrong"], param_name="svd_solver", verbose=1)
    assert table["error"].eq("").tolist() == [True, False]
    with pytest.raises(TypeError, match=r"expects alphas to be a sequence, but got 0.1. Pass \[0.1\]"):
        regret_curve(PCA(2), TRAIN, TEST, alphas=0.1, param_name="tol")


def test_a_builder_has_the_same_key_in_every_process():
    script = """
        from skvardict.storage.fingerprint import fingerprint
        print(fingerprint(lambda name: name in {"relu", "tanh", "gelu", "silu"}))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    keys = {
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True).stdout
        for seed in "12"
    }
    assert len(keys) == 1


class KilledError(BaseException):
    """Not caught by anything, as the end of a process is not."""


@pytest.fixture
def stop_in_epoch(meddle):
    """Lets training end in an epoch by an exception; the list has an entry for each epoch that began."""
    with ExitStack() as stack:

        def stop(number, exception):
            begun = []

            def count(session):
                begun.append(len(begun) + 1)
                if begun[-1] == number:
                    raise exception

            stack.enter_context(meddle(count, before="epoch"))
            return begun

        yield stop


@pytest.mark.parametrize("exception", [KilledError, KeyboardInterrupt])
def test_a_fit_that_was_stopped_continues_from_its_checkpoint(tmp_path, stop_in_epoch, exception):
    model = small_vdl(max_iter=4, random_state=0)
    whole = fit_or_load(model, TRAIN, folder=tmp_path / "whole")
    assert [path.suffix for path in (tmp_path / "whole").iterdir()] == [".joblib"]
    epochs = stop_in_epoch(3, exception)
    with pytest.raises(exception):
        fit_or_load(model, TRAIN, folder=tmp_path / "parts")
    assert not list((tmp_path / "parts").glob("*.joblib"))
    continued = fit_or_load(model, TRAIN, folder=tmp_path / "parts")
    assert len(epochs) == 3 + 2
    np.testing.assert_array_equal(continued.components_, whole.components_)
    assert continued.n_iter_ == 4
    assert [path.suffix for path in (tmp_path / "parts").iterdir()] == [".joblib"]


def test_a_point_interrupted_from_the_keyboard_is_not_taken_for_finished(tmp_path, stop_in_epoch):
    stop_in_epoch(4, KeyboardInterrupt)  # the second epoch of the second point
    with pytest.raises(KeyboardInterrupt):
        regret_curve(small_vdl(), TRAIN, TEST, alphas=[0.01], n_seeds=2, folder=tmp_path)
    assert [json.loads(path.read_text())["origin"]["seed"] for path in tmp_path.glob("*.json")] == [0]


def test_builders_of_one_name_but_other_content_are_told_apart(tmp_path):
    def builder(width):
        def build(n_features, n_components):
            return width

        return build

    def keyword_builder(default):
        def build(n_features, n_components, *, width=default):
            return width

        return build

    for kind in (builder, keyword_builder, lambda width: partial(builder(width), n_components=2)):
        assert fingerprint(kind(3)) == fingerprint(kind(3)) != fingerprint(kind(4))
    assert fingerprint(partial(builder(3), 2)) != fingerprint(partial(builder(3), 5))
    with pytest.raises(ValueError, match="cannot be told from others"):
        fingerprint(iter(lambda: 0, 1))


@pytest.fixture
def trained_together(monkeypatch):
    """How many models each call of `fit_together` was given."""
    numbers, fit_together = [], blocks_module.fit_together

    def counted(members, *args, **kwargs):
        numbers.append(len(members))
        return fit_together(members, *args, **kwargs)

    monkeypatch.setattr(blocks_module, "fit_together", counted)
    return numbers


def test_all_models_of_a_figure_are_trained_by_one_call(trained_together, tmp_path):
    models = {
        "VDL": small_vdl(),
        "SDL": make_pipeline(GlobalStandardizer(), StandardDictionaryLearning(16, max_iter=2, batch_size=100)),
        "PCA": PCA(4),
    }
    names = {"VDL": "alpha", "SDL": "standarddictionarylearning__alpha"}
    arguments = {"alphas": [0.01, 0.1], "n_seeds": 2}
    table = regret_curve(models["VDL"], TRAIN, TEST, **arguments)
    assert trained_together == [4]
    assert table["seed"].tolist() == [0, 1, 0, 1]
    for name in ("VDL", "SDL"):
        table = regret_curve({name: models[name]}, TRAIN, TEST, param_name=names[name], **arguments)
        changes = {names[name]: 0.1, names[name].replace("alpha", "random_state"): 1}
        alone = clone(models[name]).set_params(**changes).fit(TRAIN)
        expected = evaluate_codes(alone, TEST)
        assert {key: table.iloc[3][key] for key in expected} == pytest.approx(expected, rel=1e-3)
        assert (table["n_iter"] == 2).all()
    assert trained_together == [4, 4, 4]
    regret_curve(PCA(4), TRAIN, TEST, param_name="tol", **arguments)
    regret_curve(models["VDL"], TRAIN, TEST, fit_params={"X_val": TEST}, **arguments)
    assert trained_together == [4, 4, 4]
    kept = regret_curve(models["VDL"], TRAIN, TEST, folder=tmp_path, keep_models=True, **arguments)
    assert trained_together == [4, 4, 4, 2, 2]  # seed after seed, so that a kill loses one at most
    assert (kept["fit_seconds"] > 0).all()
    for path in tmp_path.glob("*.json"):
        path.unlink()
    again = regret_curve(models["VDL"], TRAIN, TEST, folder=tmp_path, keep_models=True, **arguments)
    pd.testing.assert_frame_equal(kept, again)
    assert trained_together == [4, 4, 4, 2, 2]


def test_a_model_that_fails_among_others_is_named(trained_together):
    with pytest.warns(FitFailedWarning, match=r"1 of 3 points failed.*alpha=-1"):
        table = regret_curve(small_vdl(), TRAIN, TEST, alphas=[-1, 0.01, 0.1])
    assert table["psnr"].isna().tolist() == [True, False, False]
    assert trained_together == [2]


def test_steps_that_cannot_be_fitted_fail_their_models_alone():
    bad = make_pipeline(PCA(1000), small_vdl())
    good = make_pipeline(PCA(10), small_vdl())
    name = "variancedictionarylearning__alpha"
    with pytest.warns(FitFailedWarning, match="2 of 4 points failed.*n_components=1000"):
        table = regret_curve({"bad": bad, "good": good}, TRAIN, TEST, alphas=[0.01, 0.1], param_name=name)
    assert table["error"].eq("").tolist() == [False, False, True, True]


def test_the_summary_of_a_curve_has_means_and_standard_errors_over_seeds():
    table = pd.DataFrame(
        {
            "model": "m",
            "alpha": [1, 1, 1, 2],
            "seed": [0, 1, 2, 0],
            "psnr": [10.0, 14.0, np.nan, 3.0],
            "sparsity": [0.5, 0.7, np.nan, 0.1],
        }
    )
    summary = regret_summary(table)
    assert summary["n_seeds"].tolist() == [2, 1]
    assert summary["psnr"].tolist() == [12.0, 3.0]
    assert summary.loc[0, "psnr_se"] == pytest.approx(np.std([10, 14], ddof=1) / np.sqrt(2))
    assert summary.loc[0, "sparsity_se"] == pytest.approx(0.1)
    assert np.isnan(summary.loc[1, "psnr_se"])
