"""Pages of memory-mapped files are let go, and nothing written to them is lost."""

import mmap

import numpy as np
import torch

from skvardict.rows import Rows
from skvardict.rows.maps import MappedPages


def test_pages_are_let_go_without_losing_what_was_written(tmp_path, monkeypatch):
    monkeypatch.setattr(MappedPages, "BYTES_HELD", 1000)
    written = np.memmap(tmp_path / "a.bin", dtype=np.float32, mode="w+", shape=(1000, 8))
    pages = MappedPages(written[5:])  # a view of it
    assert pages.are_mapped
    for row in range(1000):
        written[row] = row
        pages.count(32)
    np.testing.assert_array_equal(written[:, 3], np.arange(1000))
    np.testing.assert_array_equal(np.fromfile(tmp_path / "a.bin", np.float32).reshape(1000, 8)[:, 3], np.arange(1000))


def test_changes_in_a_copy_on_write_map_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(MappedPages, "BYTES_HELD", 1)
    np.zeros((500, 10), np.float32).tofile(tmp_path / "X.bin")
    changed = np.memmap(tmp_path / "X.bin", dtype=np.float32, mode="c", shape=(500, 10))
    changed[7] = 5.0
    assert not MappedPages(changed).are_mapped
    assert (Rows(changed).take(torch.tensor([7])) == 5).all()
    assert (changed[7] == 5).all()


def test_arrays_in_memory_are_not_mapped():
    X = np.zeros((500, 10), np.float32)
    assert not MappedPages(X).are_mapped
    assert not MappedPages(torch.from_numpy(X)).are_mapped
    assert not MappedPages(np.frombuffer(mmap.mmap(-1, 4096), dtype=np.uint8)).are_mapped
