"""Streams of rows: every row once per pass, mixed as far as the buffer reaches. (What estimators learn: training.)"""

import numpy as np
import pytest
import torch

from skvardict._utils.random import make_generator
from skvardict.rows import ChunkSource, Rows, Stream


def chunks_of(X, size):
    return [X[start : start + size] for start in range(0, len(X), size)]


def read(chunks, batch_size, buffer_rows, seed=0, passes=1):
    source = ChunkSource(chunks)
    reader = Stream(source, Rows(source.first()), Rows, buffer_rows)
    generator = make_generator(seed)
    return [list(reader.shuffled(batch_size, generator)) for _ in range(passes)][-1]


@pytest.mark.parametrize("chunk", [1, 7, 100, 1000])
@pytest.mark.parametrize("buffer_rows", [1, 64, 300, 5000])
def test_a_pass_has_every_row_once_in_batches_that_are_never_small(chunk, buffer_rows):
    X = np.arange(1003, dtype=np.float32)[:, None]
    batches = read(chunks_of(X, chunk), 32, buffer_rows)
    np.testing.assert_array_equal(np.sort(torch.cat(batches).squeeze(1).numpy()), X[:, 0])
    assert max(map(len, batches)) == 32
    assert min(map(len, batches)) >= 16


def test_a_buffer_mixes_rows_as_far_as_it_reaches():
    X = np.arange(10_000, dtype=np.float32)[:, None]
    for buffer_rows, least, most in ((200, 50, 300), (10_000, 2_500, 4_500)):
        order = torch.cat(read(chunks_of(X, 500), 50, buffer_rows)).squeeze(1).numpy()
        # A full shuffle moves a row by a third of the length on average.
        assert least < np.abs(order - np.arange(10_000)).mean() < most


def test_the_order_follows_from_the_generator_and_not_from_the_chunks():
    X = np.arange(500, dtype=np.float32)[:, None]
    order = torch.cat(read(chunks_of(X, 50), 20, 100))
    assert torch.equal(order, torch.cat(read(chunks_of(X, 33), 20, 100)))
    assert not torch.equal(order, torch.cat(read(chunks_of(X, 50), 20, 100, seed=1)))
    assert not torch.equal(order, torch.cat(read(chunks_of(X, 50), 20, 100, passes=2)))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_batches_of_a_stream_are_those_of_its_first_chunk(dtype):
    X = np.arange(100).reshape(50, 2)
    source = ChunkSource([X[:30].astype(dtype), torch.tensor(X[30:])])
    stream = Stream(source, Rows(source.first()), Rows, 10)
    batches = list(stream.shuffled(20, make_generator(0)))
    assert {batch.dtype for batch in batches} == {Rows(X.astype(dtype)).dtype}
    assert len(stream) == 50
    assert stream.first.n_features == 2
    assert stream.X is None


def test_a_stream_can_be_read_again_if_it_can_be_begun_again():
    X = np.zeros((4, 2), np.float32)
    for chunks, is_repeatable in (([X], True), (lambda: iter([X]), True), (iter([X]), False)):
        source = ChunkSource(chunks)
        assert source.is_repeatable == is_repeatable
        source.first()
        assert len(list(source)) == 1  # the first comes again
        assert len(list(source)) == is_repeatable
