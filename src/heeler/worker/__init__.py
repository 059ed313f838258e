"""The worker: small parts, one file each; `worker.py` builds them."""
