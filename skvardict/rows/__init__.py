"""X at the edge: checked once, read in batches and chunks, whatever its container."""
