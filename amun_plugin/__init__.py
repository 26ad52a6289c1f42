"""Nearest adversarial examples, and AMUN, the unlearning method that stands on them."""

from amun_plugin.adversarial import (
    Adversarial,
    AttackIncomplete,
    Closest,
    Engine,
    Pgd,
    Status,
    attack,
)

__all__ = ["Adversarial", "AttackIncomplete", "Closest", "Engine", "Pgd", "Status", "attack"]
