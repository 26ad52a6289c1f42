"""Nearest adversarial examples, and AMUN, the unlearning method that stands on them."""

from amun_plugin.adversarial import Adversarial, IncompleteAttackError, Pgd, Status, attack

__all__ = ["Adversarial", "IncompleteAttackError", "Pgd", "Status", "attack"]
