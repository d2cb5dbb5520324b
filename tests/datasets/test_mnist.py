import gzip
import hashlib
import os
from http.client import RemoteDisconnected
from urllib.error import URLError

import numpy as np
import pytest
from sklearn.utils import Bunch

from skvardict.datasets import _mnist, fetch_fashion_mnist, fetch_mnist
from skvardict.datasets._idx import encode_idx
from skvardict.datasets._idx_datasets import FASHION_MNIST, MNIST, TEST_FILES, TRAIN_FILES, IDXDataset
from skvardict.datasets._mnist import fetch_idx

FETCHERS = [(fetch_mnist, MNIST), (fetch_fashion_mnist, FASHION_MNIST)]


def needs(folder):
    root = os.environ.get("SKVARDICT_DATA", "")
    if not root or not os.path.isdir(os.path.join(root, folder)):
        pytest.skip(f"SKVARDICT_DATA does not name a folder with {folder}")


@pytest.fixture
def tiny():
    """Arrays of 8 training and 3 test images of 2 x 2 pixels, and the data set that describes them."""
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, size=(n, 2, 2), dtype=np.uint8) for n in (8, 3)]
    labels = [rng.integers(0, 10, size=n, dtype=np.uint8) for n in (8, 3)]
    parts = dict(zip(TRAIN_FILES + TEST_FILES, (arrays[0], labels[0], arrays[1], labels[1])))
    dataset = IDXDataset(
        name="Tiny",
        folder="tiny",
        openml_name="tiny",
        mean=0.25,
        std=0.5,
        md5={file: hashlib.md5(encode_idx(part)).hexdigest() for file, part in parts.items()},
        target_names=tuple("0123456789"),
        description="Random numbers.",
        n_train=8,
        n_validation=2,
        image_shape=(2, 2),
    )
    return dataset, parts


@pytest.fixture
def on_disk(tiny, tmp_path, monkeypatch):
    _, parts = tiny
    folder = tmp_path / "shared" / "tiny"
    folder.mkdir(parents=True)
    for file, part in parts.items():
        (folder / file).write_bytes(gzip.compress(encode_idx(part)))
    monkeypatch.setenv("SKVARDICT_DATA", str(tmp_path / "shared"))
    return folder


@pytest.fixture
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("nothing may be fetched in this test")

    monkeypatch.setattr(_mnist, "fetch_openml", refuse)


@pytest.mark.usefixtures("on_disk", "offline")
@pytest.mark.parametrize(
    ("split", "files", "rows"),
    [
        ("train", TRAIN_FILES, slice(0, 6)),
        ("validation", TRAIN_FILES, slice(6, 8)),
        ("train+validation", TRAIN_FILES, slice(0, 8)),
        ("test", TEST_FILES, slice(0, 3)),
    ],
)
def test_splits_are_the_documented_rows(tiny, split, files, rows):
    dataset, parts = tiny
    bunch = fetch_idx(dataset, split)
    images, labels = parts[files[0]][rows], parts[files[1]][rows]
    assert bunch.data.dtype == np.float32
    assert bunch.target.dtype == np.int64
    np.testing.assert_array_equal(bunch.target, labels)
    np.testing.assert_allclose(bunch.data, (images.reshape(-1, 4) / 255 - 0.25) / 0.5, atol=1e-6)
    np.testing.assert_allclose(bunch.data * bunch.std + bunch.mean, images.reshape(-1, 4) / 255, atol=1e-6)
    assert bunch.image_shape == (2, 2)


@pytest.mark.usefixtures("on_disk", "offline")
def test_pixels_stay_between_zero_and_one_without_standardisation(tiny):
    dataset, parts = tiny
    X, y = fetch_idx(dataset, "test", standardize=False, return_X_y=True)
    np.testing.assert_allclose(X, parts[TEST_FILES[0]].reshape(-1, 4) / 255, rtol=1e-6)
    assert X.dtype == np.float32
    np.testing.assert_array_equal(y, parts[TEST_FILES[1]])


@pytest.mark.usefixtures("offline")
def test_a_changed_file_is_named(tiny, on_disk):
    dataset, parts = tiny
    other = parts[TRAIN_FILES[0]] ^ 1
    (on_disk / TRAIN_FILES[0]).write_bytes(gzip.compress(encode_idx(other)))
    with pytest.raises(ValueError, match=rf"{TRAIN_FILES[0]} does not hold the expected data"):
        fetch_idx(dataset, "train")


@pytest.mark.usefixtures("offline")
def test_missing_files_are_named_with_the_places_and_the_variable(tiny, on_disk, tmp_path):
    (on_disk / TRAIN_FILES[1]).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{TRAIN_FILES[1]}.*SKVARDICT_DATA.*download_if_missing") as error:
        fetch_idx(tiny[0], "train", data_home=tmp_path / "home", download_if_missing=False)
    assert str(on_disk) in str(error.value)
    assert str(tmp_path / "home") in str(error.value)


@pytest.mark.usefixtures("offline")
def test_an_unset_variable_is_said_to_be_unset(tiny, tmp_path, monkeypatch):
    monkeypatch.delenv("SKVARDICT_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="SKVARDICT_DATA is not set"):
        fetch_idx(tiny[0], "train", data_home=tmp_path, download_if_missing=False)


def test_openml_is_asked_once_and_its_rows_are_kept(tiny, tmp_path, monkeypatch):
    dataset, parts = tiny
    monkeypatch.delenv("SKVARDICT_DATA", raising=False)
    images, labels = (np.concatenate([parts[TRAIN_FILES[i]], parts[TEST_FILES[i]]]) for i in (0, 1))
    asked = []

    def fetch(name, **kwargs):
        asked.append(name)
        return Bunch(data=images.reshape(-1, 4).astype(float), target=labels.astype(str).astype(object))

    monkeypatch.setattr(_mnist, "fetch_openml", fetch)
    for split, n_rows in [("train", 6), ("test", 3)]:
        assert len(fetch_idx(dataset, split, data_home=tmp_path).data) == n_rows
    assert asked == ["tiny"]
    assert sorted(path.name for path in (tmp_path / "skvardict" / "tiny").iterdir()) == sorted(parts)


def test_rows_of_openml_in_another_order_are_refused(tiny, tmp_path, monkeypatch):
    dataset, parts = tiny
    monkeypatch.delenv("SKVARDICT_DATA", raising=False)
    images, labels = (np.concatenate([parts[TEST_FILES[i]], parts[TRAIN_FILES[i]]]) for i in (0, 1))
    monkeypatch.setattr(_mnist, "fetch_openml", lambda *_, **__: Bunch(data=images, target=labels))
    with pytest.raises(ValueError, match="on OpenML does not hold the expected data"):
        fetch_idx(dataset, "train", data_home=tmp_path)
    assert not (tmp_path / "skvardict").exists()


@pytest.mark.parametrize("error", [URLError("no route"), TimeoutError("too slow"), RemoteDisconnected("gone")])
def test_without_a_network_the_error_names_files_places_and_the_variable(tiny, tmp_path, monkeypatch, error):
    def fetch(*_, **__):
        raise error

    monkeypatch.setattr(_mnist, "fetch_openml", fetch)
    monkeypatch.delenv("SKVARDICT_DATA", raising=False)
    with pytest.raises(ConnectionError, match=rf"SKVARDICT_DATA is not set.*{TRAIN_FILES[0]}.*'tiny'") as raised:
        fetch_idx(tiny[0], "train", data_home=tmp_path)
    assert str(tmp_path) in str(raised.value)
    assert raised.value.__cause__ is error


def test_a_random_split_is_one_and_its_parts_share_no_image(tiny, on_disk):
    dataset, whole = tiny[0], fetch_idx(tiny[0], "train+validation")
    assert whole.indices.tolist() == list(range(dataset.n_train))
    parts = {}
    for split in ("train", "validation"):
        bunch = fetch_idx(dataset, split, random_state=0)
        np.testing.assert_array_equal(bunch.data, whole.data[bunch.indices])
        np.testing.assert_array_equal(bunch.target, whole.target[bunch.indices])
        parts[split] = bunch.indices.tolist()
    assert len(parts["validation"]) == dataset.n_validation
    assert sorted(parts["train"] + parts["validation"]) == whole.indices.tolist()
    others = [fetch_idx(dataset, "validation", random_state=seed).indices.tolist() for seed in range(5)]
    assert parts["validation"] in others
    assert len({tuple(other) for other in others}) > 1
    assert fetch_idx(dataset, "validation").indices.tolist() == whole.indices.tolist()[-dataset.n_validation :]


def test_a_random_split_needs_a_number_that_two_calls_can_share(tiny):
    with pytest.raises(ValueError, match=r"random_state=RandomState.* is not None or an integer"):
        fetch_idx(tiny[0], "train", random_state=np.random.RandomState(0))
    with pytest.raises(
        ValueError, match=r"no split 'random'.* A random validation part is split='train', random_state=0"
    ):
        fetch_idx(tiny[0], "random")


@pytest.mark.parametrize(("fetch", "dataset"), FETCHERS)
def test_an_unknown_split_is_refused(fetch, dataset):
    with pytest.raises(ValueError, match=f"{dataset.name} has no split 'val'. Use one of 'train'"):
        fetch("val")


@pytest.mark.parametrize(
    ("fetch", "dataset", "labels", "mean", "std"),
    [
        (fetch_mnist, MNIST, [7, 2, 1, 0, 4, 1, 4, 9, 5, 9], 0.1325, 0.3105),
        (fetch_fashion_mnist, FASHION_MNIST, [9, 2, 1, 1, 6, 1, 4, 6, 5, 7], 0.2868, 0.3524),
    ],
)
def test_the_test_images_have_the_published_statistics(fetch, dataset, labels, mean, std):
    needs(dataset.folder)
    bunch = fetch("test", download_if_missing=False)
    assert bunch.data.shape == (10000, 784)
    assert bunch.target[:10].tolist() == labels
    pixels = bunch.data.astype(np.float64) * bunch.std + bunch.mean
    assert pixels.mean() == pytest.approx(mean, abs=1e-4)
    assert pixels.std() == pytest.approx(std, abs=1e-4)


@pytest.mark.parametrize(("fetch", "dataset"), FETCHERS)
def test_training_pixels_are_standardised_and_splits_are_disjoint(fetch, dataset):
    needs(dataset.folder)
    X, y = fetch("train+validation", return_X_y=True, download_if_missing=False)
    assert X.shape == (60000, 784)
    # mean and std are published with four digits
    assert X.mean(dtype=np.float64) == pytest.approx(0, abs=3e-4)
    assert X.std(dtype=np.float64) == pytest.approx(1, abs=3e-4)
    validation = fetch("validation", download_if_missing=False)
    assert validation.data.shape == (5000, 784)
    np.testing.assert_array_equal(validation.data, X[55000:])
    np.testing.assert_array_equal(validation.target, y[55000:])
