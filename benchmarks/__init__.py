"""Heeler's benchmarks: `make bench`, or `python -m benchmarks [section …] [--runs N]`. Numbers, not tests."""
