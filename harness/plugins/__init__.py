"""From installed plugins to the catalog of their specs, and what their sources are."""
