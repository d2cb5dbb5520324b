"""Devices, dtypes, random generators, containers and batches: the edge between callers and tensors."""
