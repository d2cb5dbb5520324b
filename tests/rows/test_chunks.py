"""Results chunk by chunk, and in smaller chunks where memory does not suffice."""

import numpy as np
import pytest
import torch

from skvardict.rows import Rows

X = np.arange(1000, dtype=np.float32)[:, None]


def within(most_rows, sizes):
    """Return a function for which there is memory for so many rows only."""

    def compute(rows):
        sizes.append(len(rows))
        if len(rows) > most_rows:
            raise torch.OutOfMemoryError
        return rows

    return compute


def test_chunks_cover_all_rows_once_and_shrink_once():
    sizes = []
    with pytest.warns(UserWarning, match="Model: no memory on cpu for chunks of 62 rows") as caught:
        pieces = list(Rows(X, owner="Model").in_chunks(within(10, sizes), most_rows=64))
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert [where.start for where, _ in pieces[1:]] == [where.stop for where, _ in pieces[:-1]]
    np.testing.assert_array_equal(np.vstack([part.numpy() for _, part in pieces]), X)
    assert sizes[:4] == [62, 31, 15, 7]
    assert max(sizes[3:]) <= 10


def test_chunks_are_computed_without_a_graph():
    weight = torch.ones((), requires_grad=True)
    ((_, result),) = Rows(X).in_chunks(lambda rows: rows * weight)
    assert not result.requires_grad
    assert torch.is_grad_enabled()


def test_no_memory_for_one_row_is_an_error():
    with pytest.warns(UserWarning, match="no memory"), pytest.raises(torch.OutOfMemoryError):
        list(Rows(X).in_chunks(within(0, []), most_rows=64))
