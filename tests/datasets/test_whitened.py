import os
import tracemalloc
import zipfile

import numpy as np
import pytest

from skvardict.datasets import load_whitened_patches


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "images.npz"
    np.savez(path, IMAGES=np.arange(30 * 34 * 5, dtype=np.float32).reshape(30, 34, 5))
    return path


@pytest.mark.parametrize(("split", "images"), [("train", [0, 1, 2]), ("test", [3, 4])])
def test_splits_share_no_image_and_patches_keep_off_the_border(path, split, images):
    with np.load(path) as archive:
        stored = archive["IMAGES"]
    bunch = load_whitened_patches(300, (4, 6), path=path, split=split, margin=3, random_state=0)
    assert bunch.data.shape == (300, 24)
    assert bunch.data.dtype == np.float32
    assert bunch.image_shape == (4, 6)
    assert np.unique(bunch.image_index).tolist() == images
    for image in images:
        inner = set(stored[3:-3, 3:-3, image].ravel())  # every pixel value occurs once in the file
        assert set(bunch.data[bunch.image_index == image].ravel()) <= inner
    first = bunch.data[0].reshape(4, 6)
    row, column = np.argwhere(stored[:, :, bunch.image_index[0]] == first[0, 0])[0]
    np.testing.assert_array_equal(first, stored[row : row + 4, column : column + 6, bunch.image_index[0]])


def test_the_seed_decides_the_patches(path):
    first, again, other = (load_whitened_patches(9, (4, 4), path=path, random_state=s).data for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_unfit_requests_are_named(path, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="split='val'"):
        load_whitened_patches(1, path=path, split="val")
    with pytest.raises(ValueError, match="margin >= 0, but got -1"):
        load_whitened_patches(1, path=path, margin=-1)
    with pytest.raises(ValueError, match=r"Image 3 without its margin of 8 has 14 x 18 pixels.* 16 x 16"):
        load_whitened_patches(1, path=path, split="test")
    with pytest.raises(FileNotFoundError, match="There is no file"):
        load_whitened_patches(1, path=tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", pixels=np.ones(3))
    with pytest.raises(ValueError, match=r"There is no item named 'IMAGES.npy'"):
        load_whitened_patches(1, path=tmp_path / "other.npz")
    np.save(tmp_path / "single.npy", np.ones((30, 30, 4)))
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "cut.npz").write_bytes(path.read_bytes()[:-100])
    for name in ("single.npy", "text.npz", "cut.npz"):
        with pytest.raises(ValueError, match=f"{name} holds no whitened images"):
            load_whitened_patches(1, path=tmp_path / name)
    monkeypatch.delenv("SKVARDICT_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="SKVARDICT_DATA is not set"):
        load_whitened_patches(1)


def test_a_small_archive_of_gigabytes_is_refused_before_anything_is_decompressed(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("IMAGES.npy", "w") as file,
    ):
        shape = (2**13, 2**10, 4)
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
        for _ in range(2**8):
            file.write(bytes(2**20))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"takes 268435584 bytes, more than .* are not accepted"):
            load_whitened_patches(1, path=tmp_path / "bomb.npz")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_header_that_promises_more_than_follows_takes_no_memory(tmp_path):
    with zipfile.ZipFile(tmp_path / "lie.npz", "w") as archive, archive.open("IMAGES.npy", "w") as file:
        header = {"descr": "<f8", "fortran_order": False, "shape": (2**20, 2**20, 2**10)}
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(ValueError, match="does not fit the 128 bytes of IMAGES"):
        load_whitened_patches(1, path=tmp_path / "lie.npz")


@pytest.mark.parametrize("images", [np.full((30, 30, 4), "x"), np.ones((30, 30, 4), complex), np.ones((9, 9), object)])
def test_arrays_of_other_things_than_real_numbers_are_named(tmp_path, images):
    np.savez(tmp_path / "other.npz", IMAGES=images)
    with pytest.raises(ValueError, match=r"other\.npz holds no whitened images: expected an array IMAGES of real"):
        load_whitened_patches(1, path=tmp_path / "other.npz")


def test_damaged_archives_give_one_kind_of_error(path):
    random, data = np.random.default_rng(0), bytearray(path.read_bytes())
    ends = np.r_[0:200, len(data) - 300 : len(data)]  # where the headers are
    for _ in range(200):
        damaged = data.copy()
        for place in random.choice(ends, 3):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            load_whitened_patches(1, (4, 4), path=path)
        except ValueError as error:
            assert "holds no whitened images" in str(error)  # noqa: PT017


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have names on POSIX systems only")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"a\.npz .*not a regular file"):
        load_whitened_patches(1, path=tmp_path / "a.npz")


def test_the_default_file_has_the_published_scale():
    if not os.path.isfile(os.path.join(os.environ.get("SKVARDICT_DATA", ""), "whitened_natural_images.npz")):
        pytest.skip("SKVARDICT_DATA does not name a folder with whitened_natural_images.npz")
    patches = {split: load_whitened_patches(20000, split=split, random_state=0) for split in ("train", "test")}
    assert len(np.unique(patches["train"].image_index)) == 8
    assert len(np.unique(patches["test"].image_index)) == 2
    for bunch in patches.values():
        assert 0.02 < bunch.data.var() < 0.21  # the spread of the single images' variances


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_that_numpy_does_not_write_are_refused_unread(tmp_path, method):
    """The header of an LZMA stream of some bytes may ask for gigabytes."""
    np.save(tmp_path / "IMAGES.npy", np.zeros((8, 8, 4), np.float32))
    with zipfile.ZipFile(tmp_path / "images.npz", "w", method) as archive:
        archive.write(tmp_path / "IMAGES.npy", "IMAGES.npy")
    with pytest.raises(ValueError, match=f"method {method}, which numpy does not write"):
        load_whitened_patches(4, (2, 2), path=tmp_path / "images.npz", margin=0)
