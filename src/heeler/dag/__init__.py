"""Workflows as pure functions: what is published of a shape, what follows from an end, what a shape has come to."""
