"""X at the edge: checked once, read in batches and chunks, whatever its container."""

from skvardict.rows.checks import float_dtype, to_array
from skvardict.rows.rows import ROWS_PER_CHUNK, Rows
from skvardict.rows.spread import spread
from skvardict.rows.streams import Chunks, ChunkSource, Stream

__all__ = ["ROWS_PER_CHUNK", "ChunkSource", "Chunks", "Rows", "Stream", "float_dtype", "spread", "to_array"]
