"""Nearest adversarial examples of images; ``amun_plugin`` is the door to them."""
