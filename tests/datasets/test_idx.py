import gzip
import hashlib
import os
import tracemalloc

import numpy as np
import pytest

from skvardict.datasets import _idx
from skvardict.datasets._idx import encode_idx

MOST_VALUES = 100


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(0, 256, size=(3, 4, 5), dtype=np.uint8)


def read_idx(path, md5=None):
    return _idx.read_idx(path, MOST_VALUES, md5)


def write(path, content):
    path.write_bytes(gzip.compress(content))
    return path


def test_a_file_written_by_hand_is_read(tmp_path):
    content = b"\x00\x00\x08\x02" + b"\x00\x00\x00\x02" + b"\x00\x00\x00\x03" + bytes(range(6))
    found = read_idx(write(tmp_path / "a.gz", content))
    np.testing.assert_array_equal(found, np.arange(6, dtype=np.uint8).reshape(2, 3))


def test_what_was_written_is_read_back(tmp_path, array):
    content = encode_idx(array)
    found = read_idx(write(tmp_path / "a.gz", content), hashlib.md5(content).hexdigest())
    np.testing.assert_array_equal(found, array)


def test_another_content_is_refused_with_both_checksums(tmp_path, array):
    content = encode_idx(array)
    path = write(tmp_path / "a.gz", content)
    found = hashlib.md5(content).hexdigest()
    with pytest.raises(ValueError, match=rf"a\.gz .* MD5 {'0' * 32}, but has {found} .* Delete it"):
        read_idx(path, "0" * 32)


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: b"plain" + data, lambda data: b""])
def test_a_damaged_gzip_file_is_named(tmp_path, array, damage):
    path = tmp_path / "a.gz"
    path.write_bytes(damage(gzip.compress(encode_idx(array))))
    with pytest.raises(ValueError, match=r"a\.gz is .* MD5 abc|a\.gz does not hold"):
        read_idx(path, "abc")


def test_flipped_bits_inside_a_gzip_file_are_noticed(tmp_path, array):
    data = bytearray(gzip.compress(encode_idx(array)))
    data[len(data) // 2] ^= 0xFF
    path = tmp_path / "a.gz"
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"a\.gz is (not a complete gzip file|damaged)"):
        read_idx(path)


@pytest.mark.parametrize("content", [b"", b"\x00\x00\x0d\x01" + bytes(20), b"P5 2 2 255", b"\x00\x00\x08\x03\x00"])
def test_another_format_is_named(tmp_path, content):
    with pytest.raises(ValueError, match=r"a\.gz is not an IDX file"):
        read_idx(write(tmp_path / "a.gz", content))


@pytest.mark.parametrize("change", [b"\x01", None])
def test_a_length_that_does_not_fit_the_header_is_named(tmp_path, array, change):
    content = encode_idx(array)
    content = content[:-1] if change is None else content + change
    with pytest.raises(ValueError, match=r"promises shape \(3, 4, 5\), 60 values, but (59|more) follow"):
        read_idx(write(tmp_path / "a.gz", content))


def test_a_header_that_promises_too_much_is_refused_before_anything_is_decompressed(tmp_path):
    # Nothing follows the header: reading on would end in another error.
    path = write(tmp_path / "a.gz", b"\x00\x00\x08\x02" + b"\xff" * 8)
    with pytest.raises(ValueError, match=r"a\.gz promises shape .*, but at most 100 are expected"):
        read_idx(path, "abc")


def test_no_more_is_decompressed_than_the_header_promises(tmp_path):
    path = write(tmp_path / "a.gz", encode_idx(np.zeros(60, dtype=np.uint8)) + bytes(2**26))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="60 values, but more follow"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_header_of_more_axes_than_arrays_have_is_no_idx_file(tmp_path):
    with pytest.raises(ValueError, match=r"a\.gz is not an IDX file"):
        read_idx(write(tmp_path / "a.gz", b"\x00\x00\x08\xff" + b"\x00\x00\x00\x01" * 255 + b"\x00"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have names on POSIX systems only")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.gz")
    with pytest.raises(ValueError, match=r"a\.gz is not a regular file"):
        read_idx(tmp_path / "a.gz")
