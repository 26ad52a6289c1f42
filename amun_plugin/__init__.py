"""Nearest adversarial examples, and AMUN, the unlearning method built on them."""

from amun_plugin.adversarial.attack import attack
from amun_plugin.adversarial.result import Adversarial, AttackIncomplete, Status
from amun_plugin.adversarial.settings import Closest, Engine, Pgd

__all__ = ["Adversarial", "AttackIncomplete", "Closest", "Engine", "Pgd", "Status", "attack"]
