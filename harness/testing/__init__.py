"""Checks that a method keeps the contract, for plugin authors to run."""

from harness.testing.contract import check_method, check_settings

__all__ = ["check_method", "check_settings"]
