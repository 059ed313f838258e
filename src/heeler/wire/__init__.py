"""Wire formats: how a message becomes an envelope and back."""

from heeler.wire.native import NativeFormat

__all__ = ["NativeFormat"]
