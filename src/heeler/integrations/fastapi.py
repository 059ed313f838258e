"""Heeler in a FastAPI application, which takes the lifespans of Starlette."""

from __future__ import annotations

from heeler.integrations.starlette import lifespan

__all__ = ["lifespan"]
