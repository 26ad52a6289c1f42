"""Frozen specs: what is unlearned, by which method, and how the result is measured."""
