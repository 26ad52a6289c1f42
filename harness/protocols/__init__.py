"""The built-in protocols, one file each, and the estimates that they share."""
