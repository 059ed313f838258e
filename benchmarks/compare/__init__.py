"""Heeler beside other task queues, on one Redis: `python -m benchmarks.compare [--systems …] [--quick]`.

What runs where: this package's `__main__` drives, in Heeler's environment. Each system has one file in `systems/` and a
virtual environment of its own under `build/compare/`, in which its workers and `client.py` run. To add a system, add a
file there: its docstring says how it is set up and why, the block at its top what is to be installed.
"""
