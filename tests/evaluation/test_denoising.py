import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from skvardict.evaluation import denoising_table, evaluate_codes
from skvardict.evaluation._denoising import add_noise

X = load_digits().data.astype(np.float32) / 16


def test_noise_has_the_deviation_asked_for_and_is_one_draw_per_seed():
    rows = np.zeros((500, 64), dtype=np.float32)
    noise = add_noise(rows, 1.5, seed=0)
    assert noise.dtype == np.float32
    # 32,000 draws: the standard error of the deviation is 0.006, that of the mean 0.008
    assert abs(noise.std() - 1.5) < 0.03
    assert abs(noise.mean()) < 0.04
    np.testing.assert_array_equal(noise, add_noise(rows, 1.5, seed=0))
    assert not np.allclose(noise, add_noise(rows, 1.5, seed=1))
    np.testing.assert_array_equal(noise, add_noise(torch.from_numpy(rows), 1.5, seed=0).numpy())
    assert add_noise(rows, 0.0, seed=0) is rows


def test_codes_of_noisy_rows_are_compared_with_clean_rows():
    models = {"few": PCA(4).fit(X), "all": PCA(64).fit(X)}
    table = denoising_table(models, X, noise_levels=[0.0, 0.5], seeds=[0, 1])
    assert table[["model", "sigma", "seed"]].values.tolist() == [
        *[[name, 0.0, 0] for name in models],
        *[[name, 0.5, seed] for seed in (0, 1) for name in models],
    ]
    clean, noisy = table[table["sigma"] == 0], table[table["sigma"] == 0.5]
    assert np.isinf(clean["input_psnr"]).all()
    # white noise of variance 0.25 has a PSNR of 6.02 dB plus the Jensen gap of the mean of 64 squares (0.07)
    np.testing.assert_allclose(noisy["input_psnr"], 6.02 + 0.07, atol=0.05)
    # all components keep all of the noise; four keep a sixteenth of it
    everything, few = (noisy[noisy["model"] == name] for name in ("all", "few"))
    np.testing.assert_allclose(everything["psnr"], everything["input_psnr"], atol=1e-3)
    assert (few["psnr"] > few["input_psnr"] + 3).all()
    expected = evaluate_codes(models["few"], add_noise(X, 0.5, 1), X)
    row = noisy[(noisy["model"] == "few") & (noisy["seed"] == 1)].iloc[0]
    assert {name: row[name] for name in expected} == expected


def test_psnr_is_taken_in_the_space_of_pixels():
    model = PCA(8).fit(X)
    plain = denoising_table(model, X, noise_levels=[0.3])
    mapped = denoising_table(model, X, noise_levels=[0.3], to_pixels=lambda rows: 2 * rows, data_range=2.0)
    assert mapped.loc[0, ["psnr", "input_psnr"]].tolist() == pytest.approx(
        plain.loc[0, ["psnr", "input_psnr"]].tolist()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noise_levels": [-1.0]}, "0 or more, but got -1.0"),
        ({"noise_levels": [np.nan]}, "0 or more, but got nan"),
        ({"noise_levels": []}, "noise_levels is empty"),
        ({"seeds": []}, "seeds is empty"),
    ],
)
def test_noise_that_cannot_be_drawn_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        denoising_table(PCA(4).fit(X), X, **arguments)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8])
def test_integers_become_floating_point_before_noise_is_added(dtype):
    rows = torch.ones(200, 10, dtype=dtype)
    noisy = add_noise(rows, 0.5, seed=0)
    np.testing.assert_allclose(noisy.numpy(), add_noise(rows.numpy(), 0.5, seed=0), atol=1e-6)
    assert abs(float(noisy.std()) - 0.5) < 0.03
