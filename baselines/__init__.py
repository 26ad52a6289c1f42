"""The other methods, one file each."""
