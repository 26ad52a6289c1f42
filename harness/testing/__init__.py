"""The contract that every method must keep, for plugin authors to run."""

from harness.testing.contract import check_method, check_settings

__all__ = ["check_method", "check_settings"]
