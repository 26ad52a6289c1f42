"""Images in, splits out."""
