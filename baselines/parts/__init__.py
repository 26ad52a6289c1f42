"""What several methods share, one job a file."""
