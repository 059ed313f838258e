"""An id maker: ids that say the day."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

__all__ = ["dated_id"]


def dated_id() -> str:
    """Such as "2030-01-31-5f0c…". `Heeler(…, id_maker=dated_id)`."""
    return f"{datetime.now(UTC):%Y-%m-%d}-{uuid.uuid4().hex}"
