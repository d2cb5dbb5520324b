"""X at the edge: checked once, read in batches and chunks, whatever its container."""

from skvardict.rows.checks import check_matrix, float_dtype, for_output, has_columns, shape_of, to_array
from skvardict.rows.numbers import as_numbers
from skvardict.rows.rows import ROWS_PER_CHUNK, Rows
from skvardict.rows.spread import spread
from skvardict.rows.streams import Chunks, ChunkSource, Stream

__all__ = [
    "ROWS_PER_CHUNK",
    "ChunkSource",
    "Chunks",
    "Rows",
    "Stream",
    "as_numbers",
    "check_matrix",
    "float_dtype",
    "for_output",
    "has_columns",
    "shape_of",
    "spread",
    "to_array",
]
