"""Keeps what a plugin's code does from everything else: contained, or in forked processes."""
