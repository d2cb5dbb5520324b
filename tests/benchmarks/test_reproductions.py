import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks import _experiment, reproduce_svae, reproduce_vsc
from benchmarks._celeba import load_celeba
from benchmarks._whitened import Patches


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Random rows in place of the data sets, and folders for runs and results."""
    rng = np.random.default_rng(0)

    def rows(n_train, n_test):
        return Patches(*(rng.normal(size=(n, 256)).astype(np.float32) for n in (n_train, n_test)))

    fixed = rows(40, 30)
    monkeypatch.setattr(reproduce_vsc, "load_standardized", lambda *_: fixed)
    monkeypatch.setattr(reproduce_svae, "load_centred", lambda *_: fixed)
    monkeypatch.setattr(reproduce_svae.torch, "set_num_threads", lambda n: None)
    return tmp_path


def _options(folder):
    return ["--runs", str(folder / "runs"), "--results", str(folder / "results"), "--n-train", "40", "--n-test", "30"]


def test_a_second_run_fits_and_measures_nothing_and_gives_the_same_table(folders, monkeypatch):
    command = ["table1", *_options(folders), "--steps", "2", "--snr-draws", "2", "--iwae-draws", "2", "--draws", "2"]
    command += ["--methods", "thresholded_laplace", "spike_and_slab"]
    reproduce_vsc.main(command)
    path = folders / "results" / "vsc_table1.csv"
    first = pd.read_csv(path)
    assert first["method"].tolist() == ["thresholded_laplace", "spike_and_slab"]
    assert first["published_loss"].isna().all()  # J = 2 is not in the paper
    header = json.loads(path.with_suffix(".json").read_text())
    assert header["command"].startswith("python -m benchmarks.reproduce_vsc table1 --n-train 40")
    assert str(folders) not in header["command"]
    assert {"versions", "machine"} <= header.keys()
    assert (folders / "results" / "vsc_table1.png").is_file()

    def refuse(*_, **__):
        raise AssertionError("measured again")

    monkeypatch.setattr(reproduce_vsc, "measure_linear", refuse)
    reproduce_vsc.main(command)
    pd.testing.assert_frame_equal(pd.read_csv(path), first)


def test_a_run_that_diverges_is_a_row_of_its_own(folders, monkeypatch):
    def diverge(*_, **__):
        raise _experiment.TrainingDivergedError("a loss became non-finite")

    monkeypatch.setattr(_experiment, "fit_or_load", diverge)
    reproduce_vsc.main(["table2", *_options(folders), "--steps", "2", "--draws", "1"])
    table = pd.read_csv(folders / "results" / "vsc_table2.csv")
    assert table["gradient"].tolist() == ["straight_through", "subgradient"]
    assert table["diverged"].all()


def test_the_two_sparse_vaes_differ_in_the_norm_only(folders):
    command = ["patches", *_options(folders), "--steps", "1", "--n-components", "12", "--encoders", "mlp"]
    reproduce_svae.main([*command, "--be", "0.02", "--no-sparse-coding"])
    table = pd.read_csv(folders / "results" / "svae_patches.csv").set_index("model")
    assert table.loc["svae_norm", ["norm_q1", "norm_q99"]].tolist() == [1, 1]
    assert table.loc["svae", "norm_q1"] < 0.99 * table.loc["svae", "norm_q99"]
    assert (table["kl_weight"] == 0.02 / 256).all()
    assert (table["mse_of_draws"] > table["mse_of_mean"]).all()


def test_celeba_is_cropped_resized_and_kept(tmp_path):
    folder = tmp_path / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{index:06d}.jpg" for index in range(3)]
    for index, name in enumerate(names):
        pixels = np.zeros((218, 178, 3), dtype=np.uint8)
        pixels[39:179, 19:159] = (80 * index, 10, 200)  # the crop alone
        Image.fromarray(pixels).save(folder / "img_align_celeba" / name, quality=95)
    lines = ["3", "Bald Young", *(f"{name} {sign} 1" for name, sign in zip(names, (1, -1, -1)))]
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    faces = load_celeba(folder, tmp_path / "cache", 2, 1)
    assert faces.train.shape == (2, 3 * 64 * 64)
    assert faces.train.dtype == np.float32
    inner = faces.train[1].reshape(3, 64, 64)[:, 4:-4, 4:-4]
    np.testing.assert_allclose(inner.mean((1, 2)) * 255, [80, 10, 200], atol=3)  # jpg
    assert faces.attributes.to_dict("list") == {"Bald": [-1], "Young": [1]}
    (folder / "img_align_celeba" / names[0]).unlink()
    np.testing.assert_array_equal(load_celeba(folder, tmp_path / "cache", 2, 1).train, faces.train)
    with pytest.raises(ValueError, match="lists 3 faces, fewer than the 4"):
        load_celeba(folder, tmp_path / "cache", 3, 1)
