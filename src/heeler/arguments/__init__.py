"""Arguments and return values: bound to the signature, checked against the annotations, made bytes and back."""

from heeler.arguments.annotations import resolve_return
from heeler.arguments.fingerprint import fingerprint
from heeler.arguments.gaps import Gap, Mend, Way, fill, take_gaps
from heeler.arguments.parameters import Parameters
from heeler.arguments.return_type import ReturnType
from heeler.arguments.unbound import encode_unbound, given_unbound

__all__ = [
    "Gap",
    "Mend",
    "Parameters",
    "ReturnType",
    "Way",
    "encode_unbound",
    "fill",
    "fingerprint",
    "given_unbound",
    "resolve_return",
    "take_gaps",
]
