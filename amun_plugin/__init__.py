"""Nearest adversarial examples, and AMUN, the unlearning method that stands on them."""
