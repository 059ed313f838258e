"""One file for each system. All have the functions that `systems/heeler.py` has; they may be coroutine functions."""
