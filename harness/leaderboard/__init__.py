"""From lines to tables to pages."""
