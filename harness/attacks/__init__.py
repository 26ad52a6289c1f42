"""Membership inference attacks as pure functions of NumPy arrays, one family per file."""
