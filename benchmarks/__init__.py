"""Speed against peers, and the papers' experiments. Run from the root of the repository: python -m benchmarks.NAME."""
