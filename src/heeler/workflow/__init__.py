"""Workflows as they are written: signatures, and what is made of them."""

from heeler.workflow.graph import Workflow
from heeler.workflow.nodes import Node
from heeler.workflow.parts import Chain, Composable, Composite
from heeler.workflow.shapes import Group, chain, chord, group
from heeler.workflow.signature import Followed, Signature

__all__ = [
    "Chain",
    "Composable",
    "Composite",
    "Followed",
    "Group",
    "Node",
    "Signature",
    "Workflow",
    "chain",
    "chord",
    "group",
]
