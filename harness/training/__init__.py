"""The training loop, the inference loop, and the count of their work."""
