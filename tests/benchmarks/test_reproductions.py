import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.utils import Bunch

from benchmarks import _experiment, reproduce_svae, reproduce_vsc, uses_figure, variational_uses
from benchmarks._celeba import FlippedFit, flipped_chunks, load_celeba
from benchmarks._whitened import Patches
from skvardict import SparseVAE
from skvardict.networks import MLP


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


def test_the_printed_weight_is_a_share_of_the_released_one(folders):
    command = ["weights", *_options(folders), "--steps", "1", "--snr-draws", "2", "--iwae-draws", "2", "--draws", "2"]
    reproduce_vsc.main([*command, "--methods", "thresholded_laplace"])
    table = pd.read_csv(folders / "results" / "vsc_weights.csv")
    assert table["weights"].tolist() == ["released", "printed"]
    assert table[["on_0.01", "on_0.99", "transform_r2"]].notna().all(axis=None)


def test_the_two_sparse_vaes_differ_in_the_norm_only(folders):
    command = ["patches", *_options(folders), "--steps", "1", "--n-components", "12", "--encoders", "mlp"]
    reproduce_svae.main([*command, "--be", "0.02", "--no-sparse-coding"])
    table = pd.read_csv(folders / "results" / "svae_patches.csv").set_index("model")
    assert table.loc["svae_norm", ["norm_q1", "norm_q99"]].tolist() == [1, 1]
    assert table.loc["svae", "norm_q1"] < 0.99 * table.loc["svae", "norm_q99"]
    assert (table["kl_weight"] == 0.02 / 256).all()
    assert (table["mse_of_draws"] > table["mse_of_mean"]).all()
    assert table["published_active"].tolist() == [154, 374]


def test_numbers_of_natural_images_do_not_stand_beside_mnist(folders, monkeypatch):
    rows = Bunch(data=np.random.default_rng(0).random((40, 784), dtype=np.float32))
    monkeypatch.setattr(reproduce_svae, "fetch_mnist", lambda *_, **__: rows)
    command = ["mnist", *_options(folders), "--steps", "1", "--n-components", "12", "--hidden", "8"]
    reproduce_svae.main([*command, "--encoders", "resnet", "--be", "0.1"])
    table = pd.read_csv(folders / "results" / "svae_mnist.csv")
    assert table["be"].tolist() == [0.1, 0.1]
    assert not [name for name in table if name.startswith("published")]
    ratios = pd.read_csv(folders / "results" / "svae_mnist_ratios.csv")
    by_model = table.set_index("model")["mse_of_draws"]
    np.testing.assert_allclose(ratios["mse_of_draws"][0], by_model["svae_norm"] / by_model["svae"], 1e-4)
    assert (folders / "results" / "svae_mnist_resnet_be0.1_filters.png").is_file()


def test_noise_alone_has_the_ratio_that_stands_beside(folders):
    command = ["table1", *_options(folders), "--steps", "1", "--iwae-draws", "2", "--draws", "2"]
    reproduce_vsc.main([*command, "--methods", "gaussian", "--snr-draws", "40"])
    (floor,) = pd.read_csv(folders / "results" / "vsc_table1.csv")["snr_floor"]
    noise = np.random.default_rng(0).standard_normal((40, 50_000))
    assert floor == pytest.approx(np.mean(np.abs(noise.mean(0)) / noise.std(0, ddof=1)), rel=0.03)


def test_components_are_set_beside_classes_of_fashion_mnist(folders, monkeypatch):
    rng = np.random.default_rng(0)
    rows = Bunch(
        data=rng.random((70, 784), dtype=np.float32), target=np.arange(70) % 3, target_names=("boot", "coat", "dress")
    )
    monkeypatch.setattr(reproduce_vsc, "fetch_fashion_mnist", lambda *_, **__: rows)
    command = ["fmnist", *_options(folders), "--epochs", "1", "--batch-size", "20", "--draws", "2", "--latents", "4"]
    reproduce_vsc.main([*command, "--methods", "gaussian", "spike_and_slab", "--probabilities", "0.1", "0.3"])
    found = pd.read_csv(folders / "results" / "vsc_fmnist_attributes.csv")
    assert set(found["attribute"]) == {"boot", "coat", "dress"}
    assert len(found) == 9
    assert (found["r"].abs() < 1).all()
    assert pd.read_csv(folders / "results" / "vsc_fmnist.csv")["share_on"].tolist() == [1, 0.1, 0.3]


def test_a_random_half_of_the_faces_is_mirrored_in_every_epoch():
    rng = np.random.default_rng(0)
    X, shape = rng.random((5000, 12), dtype=np.float32), (2, 2, 3)
    mirrored = X.reshape(-1, *shape)[..., ::-1].reshape(len(X), -1)
    masks = []
    for _ in range(2):
        rows = np.concatenate(list(flipped_chunks(X, shape, rng)))
        masks.append((rows == mirrored).all(1))
        np.testing.assert_array_equal(rows, np.where(masks[-1][:, None], mirrored, X))
        assert 0.45 < masks[-1].mean() < 0.55
    assert 0.4 < (masks[0] != masks[1]).mean() < 0.6
    model = SparseVAE(3, encoder=MLP((4,)), max_iter=2, batch_size=500, random_state=0)
    one, two = (FlippedFit(model, shape, 0).fit(X).estimator_ for _ in range(2))
    np.testing.assert_array_equal(one.components_, two.components_)
    assert not np.array_equal(one.components_, model.fit_stream([X]).components_)


def test_the_celeba_command_runs_on_faces_of_noise(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduce_vsc.torch, "set_num_threads", lambda n: None)
    folder, rng = tmp_path / "celeba", np.random.default_rng(0)
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{index:06d}.jpg" for index in range(48)]
    for name in names:
        Image.fromarray(rng.integers(0, 255, (218, 178, 3), dtype=np.uint8)).save(folder / "img_align_celeba" / name)
    lines = ["48", "Bald Young", *(f"{name} {rng.choice((-1, 1))} {(-1) ** i}" for i, name in enumerate(names))]
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    command = ["celeba", *_options(tmp_path), "--folder", str(folder), "--epochs", "1", "--batch-size", "20"]
    command[command.index("--n-test") + 1] = "8"
    reproduce_vsc.main([*command, "--draws", "2", "--latents", "4", "--methods", "gaussian"])
    assert len(pd.read_csv(tmp_path / "results" / "vsc_celeba_attributes.csv")) == 2


def test_uses_are_measured_for_every_method_and_tuned_on_the_first_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(variational_uses.torch, "set_num_threads", lambda n: None)
    for name, value in {"LABELS": (5,), "N_LABEL_DRAWS": 1, "MIXTURES": (1,)}.items():
        monkeypatch.setattr(variational_uses, name, value)
    command = ["--data", "digits", "--steps", "2", "--n-train", "700", "--n-test", "60", "--seeds", "0", "1"]
    command += ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    variational_uses.main([*command, "--methods", "pixels", "Wiener", "PCA", "SVAE-Norm"])
    table = pd.read_csv(tmp_path / "results" / "variational_uses_digits.csv")
    relative = uses_figure.ratios(table)
    errors = table.set_index(["seed", "method"])["mse_weak"]
    expected = errors[1, "SVAE-Norm"] / errors[1, "PCA"]
    assert relative.loc[("digits", 1, "SVAE-Norm"), "mse_weak"] == pytest.approx(expected)
    assert len(uses_figure.draw(table).axes) == len(uses_figure.JOBS)
    table = table.set_index(["method", "seed"])
    assert (table.loc["Wiener", "mse_strong"] < table.loc["PCA", "mse_strong"]).all()  # the best linear denoiser
    for name in ("error_5_by", "mse_weak_by", "frechet_by"):
        assert table.loc[("PCA", 0), name] == table.loc[("PCA", 1), name]
    np.testing.assert_allclose(table.loc["pixels", "mse_weak"], 0.25, rtol=0.05)
    assert table.loc["SVAE-Norm", "frechet_prior"].notna().all()


def test_the_mixture_denoiser_is_the_posterior_mean(tmp_path):
    """Against importance sampling from the mixture of two Gaussians in the plane."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(c, 0.3, (500, 2)) for c in (-2, 2)]).astype(np.float32)
    mixture = variational_uses.fit_mixture(variational_uses.PCA(2, random_state=0).fit_transform(X), 20, 0)
    pca = variational_uses.PCA(2, random_state=0).fit(X)
    clean, row, sigma = pca.inverse_transform(mixture.sample(400_000)[0]), np.array([[0.7, -0.4]]), 0.8
    weight = np.exp(-((row - clean) ** 2).sum(1) / (2 * sigma**2))
    expected = (weight[:, None] * clean).sum(0) / weight.sum()
    np.testing.assert_allclose(variational_uses.mixture_mean(X, row, sigma, 2)[0], expected, atol=0.03)


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
