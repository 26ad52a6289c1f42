"""The version of this distribution, and that of its numbers."""

__version__ = "0.1.0"

CODE = 2
"""Raised when a change of the harness changes the numbers that it produces."""
