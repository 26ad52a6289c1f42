"""Loads plugins, collects their specs in a catalog, and hashes their sources."""
