import builtins
import io
import os

import numpy as np
import pytest
from PIL import Image

from skvardict.datasets import load_images, load_natural_patches


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "photographs"
    folder.mkdir()
    Image.fromarray(rng.integers(0, 256, (12, 9, 3), dtype=np.uint8)).save(folder / "b.png")
    Image.fromarray(rng.integers(0, 256, (8, 15), dtype=np.uint8)).save(folder / "a.png")
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_images_are_grey_between_zero_and_one_and_in_the_order_of_names(folder):
    images, names = load_images(folder)
    assert names == ["a.png", "b.png"]
    assert [image.shape for image in images] == [(8, 15), (12, 9)]
    assert {image.dtype for image in images} == {np.dtype(np.float32)}
    colour = np.asarray(Image.open(folder / "b.png"), dtype=float)
    # grey levels are rounded to bytes
    np.testing.assert_allclose(images[1], colour @ [0.299, 0.587, 0.114] / 255, atol=0.51 / 255)
    np.testing.assert_allclose(images[0], np.asarray(Image.open(folder / "a.png")) / 255, rtol=1e-6)


def test_sixteen_bit_images_are_not_clipped(folder):
    pixels = np.array([[0, 256], [40000, 65535]], dtype=np.uint16)
    Image.fromarray(pixels).save(folder / "0.png")
    np.testing.assert_allclose(load_images(folder)[0][0], pixels / 65535, rtol=1e-6)


def test_patches_are_cut_from_the_images_they_name(folder):
    images, _ = load_images(folder)
    bunch = load_natural_patches(40, (5, 4), folder=folder, random_state=0)
    assert bunch.data.shape == (40, 20)
    assert bunch.data.dtype == np.float32
    assert bunch.filenames == ["a.png", "b.png"]
    assert set(bunch.image_index) == {0, 1}
    for patch, index in zip(bunch.data, bunch.image_index):
        windows = np.lib.stride_tricks.sliding_window_view(images[index], (5, 4)).reshape(-1, 20)
        assert (windows == patch).all(axis=1).any()


def test_the_seed_decides_the_patches(folder):
    first, again, other = (
        load_natural_patches(10, (4, 4), folder=folder, random_state=seed).data for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_missing_and_an_empty_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*nowhere"):
        load_images(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"has no \.jpg, \.jpeg, \.png files"):
        load_images(tmp_path)


@pytest.mark.parametrize("keep", [0, 60])
def test_an_unreadable_image_is_named(folder, keep):
    (folder / "c.png").write_bytes((folder / "b.png").read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"c\.png cannot be read as an image"):
        load_images(folder)


@pytest.mark.parametrize("kind", ["TIFF", "EPS", "PDF", "GIF", "PPM"])
def test_other_formats_are_refused_whatever_the_file_is_called(folder, kind):
    Image.fromarray(np.zeros((4, 4), dtype=np.uint8)).save(folder / "c.jpg", format=kind)
    with pytest.raises(ValueError, match=r"c\.jpg cannot be read as an image"):
        load_images(folder)


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for Ghostscript is a shell script")
def test_no_program_is_started_for_an_image(folder, tmp_path, monkeypatch):
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path / 'started'}\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    (folder / "c.png").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(ValueError, match=r"c\.png cannot be read as an image"):
        load_images(folder)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("size", [(14_000, 14_000), (10_000, 10_000)])
def test_an_image_of_too_many_pixels_is_named_before_it_is_decoded(folder, size):
    Image.new("1", size).save(folder / "c.png")
    assert (folder / "c.png").stat().st_size < 50_000
    with pytest.raises(ValueError, match=r"c\.png is larger than images may be.*MAX_IMAGE_PIXELS"):
        load_images(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have names on POSIX systems only")
def test_a_pipe_is_refused_instead_of_waited_for(folder):
    os.mkfifo(folder / "c.png")
    with pytest.raises(ValueError, match=r"c\.png cannot be read as an image .*not a regular file"):
        load_images(folder)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_damaged_images_give_one_kind_of_error(tmp_path, kind):
    picture, file = np.random.default_rng(0).integers(0, 256, (12, 9, 3), dtype=np.uint8), io.BytesIO()
    Image.fromarray(picture).save(file, format=kind)
    random, data = np.random.default_rng(1), bytearray(file.getvalue())
    for _ in range(150):
        damaged = data.copy()
        for place in random.integers(0, len(damaged), 3):
            damaged[place] = random.integers(256)
        (tmp_path / "c.png").write_bytes(damaged[: random.integers(1, 2 * len(damaged))])
        try:
            load_images(tmp_path)
        except ValueError as error:
            assert "c.png" in str(error)  # noqa: PT017


def test_an_image_smaller_than_a_patch_is_named(folder):
    with pytest.raises(ValueError, match=r"Image a\.png has 8 x 15 pixels, fewer than a patch of 9 x 9"):
        load_natural_patches(1, (9, 9), folder=folder)
    with pytest.raises(ValueError, match="n_patches >= 1, but got 0"):
        load_natural_patches(0, (4, 4), folder=folder)
    with pytest.raises(ValueError, match=r"\(height, width\), both positive, but got \(0, 4\)"):
        load_natural_patches(1, (0, 4), folder=folder)


@pytest.mark.parametrize("root", [None, "empty"])
def test_absent_data_are_reported_with_the_variable_to_set(tmp_path, monkeypatch, root):
    if root is None:
        monkeypatch.delenv("SKVARDICT_DATA", raising=False)
    else:
        monkeypatch.setenv("SKVARDICT_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="Set SKVARDICT_DATA to a folder"):
        load_natural_patches(1)


def test_a_missing_pillow_is_reported(folder, monkeypatch):
    original = builtins.__import__

    def without_pillow(name, *args, **kwargs):
        if name == "PIL":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pillow)
    with pytest.raises(ImportError, match=r"pip install pillow, or .*skvardict\[images\]"):
        load_images(folder)


def test_photographs_have_the_published_grey_statistics():
    folder = os.path.join(os.environ.get("SKVARDICT_DATA", ""), "natural_images", "val")
    if not os.path.isdir(folder):
        pytest.skip("SKVARDICT_DATA does not name a folder with natural_images/val")
    images, names = load_images(folder)
    assert len(names) == 100
    pixels = np.concatenate([image.ravel() for image in images])
    assert pixels.mean(dtype=np.float64) == pytest.approx(0.4239, abs=1e-4)
    assert pixels.std(dtype=np.float64) == pytest.approx(0.2359, abs=1e-4)
