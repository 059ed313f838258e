"""A codec: JSON, compressed."""

from __future__ import annotations

import gzip
import json

__all__ = ["ZippedJson"]


class ZippedJson:
    """For arguments and results that are long texts. `Heeler(…, codec=ZippedJson())`."""

    content_type = "application/json+gzip"

    def encode(self, value: object) -> bytes:
        return gzip.compress(json.dumps(value).encode(), compresslevel=1, mtime=0)  # the same bytes for the same value

    def decode(self, data: bytes) -> object:
        return json.loads(gzip.decompress(data))
