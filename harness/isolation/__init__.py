"""Isolates plugin code: restores what it changes, or runs it in forked processes."""
