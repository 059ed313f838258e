"""Heeler inside other frameworks, one package or module for each; none is imported by the rest of Heeler."""
