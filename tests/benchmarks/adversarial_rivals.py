"""What the module is compared with: the published trajectory, plainly, and three libraries."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS_INIT, STEPS, STEP = 0.04, 50, 0.1
PUBLISHED = "published loop, one by one"
DOUBLINGS = 12
"""A ball of radius 0.04 · 2¹² holds all images there are, of up to 3×90×90: who is right there will
be right for ever, and the loop, which has no end of its own, is cut off."""


class Found(NamedTuple):
    """What an attack gives."""

    images: Tensor
    radius: Tensor | None = None
    """``(n,)``: of the ball in which it found them, where it knows one."""
    claim: tuple[float, float] | None = None
    """Gradients and forwards a sample, where it counts them itself."""


Attack = Callable[[nn.Module, Tensor, Tensor], Found]


def plain(model: nn.Module, images: Tensor, labels: Tensor, *, batch: int) -> Found:
    """The trajectory of AMUN's released code, written from its description, a batch at a time.

    Mean cross-entropy, steps of a tenth of the radius, warm start, doubling, each sample stopped at
    its first wrong iterate and dropped from the batch. The model must be in eval mode. Samples that
    are still right after ``DOUBLINGS`` are given back as they are.
    """
    parts = [
        _plain_batch(model, some, right)
        for some, right in zip(images.split(batch), labels.split(batch), strict=True)
    ]
    return Found(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _plain_batch(model: nn.Module, clean: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    at, radius = clean.clone(), torch.full((len(clean),), EPS_INIT, device=clean.device)
    active = torch.arange(len(clean), device=clean.device)
    for _ in range(DOUBLINGS):
        for _ in range(STEPS):
            here = at[active].requires_grad_()
            logits = model(here)
            wrong = logits.argmax(1) != labels[active]
            if wrong.all():
                return at, radius
            (ascent,) = torch.autograd.grad(F.cross_entropy(logits, labels[active]), here)
            ascent = ascent / (_norm(ascent) + 1e-10)
            ascent[wrong] = 0
            eps = radius[active].view(-1, *[1] * (clean.ndim - 1))
            away = here.detach() + STEP * eps * ascent - clean[active]
            away = away * (eps / _norm(away)).clamp(max=1)
            at[active] = (clean[active] + away).clamp(0, 1)
            active = active[~wrong]
        with torch.no_grad():
            right = model(at[active]).argmax(1) == labels[active]
        radius[active[right]] *= 2
    return at, radius


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=tuple(range(1, x.ndim)), keepdim=True)


class Rival(NamedTuple):
    """A row of the table."""

    name: str
    kind: str
    """Whose attack it is: a key of the figures' ``COLOURS``."""
    run: Attack


def published(batch: int) -> Rival:
    """The published trajectory, that many samples at a time."""
    name = PUBLISHED if batch == 1 else f"published loop, batches of {batch}"
    return Rival(name, "published", partial(plain, batch=batch))


def libraries() -> tuple[list[Rival], list[str]]:
    """The attacks of the libraries that can be imported, and why the others cannot."""
    rivals, absent = [], []
    for name, load in (("torchattacks", _torchattacks), ("foolbox", _foolbox), ("adv-lib", _adv)):
        try:
            rivals += [Rival(f"{name} {row}", name, run) for row, run in load().items()]
        except ImportError as error:
            absent.append(f"{name}: not installed ({error})")
    return rivals, absent


def versions() -> str:
    """The libraries' versions."""
    names = [("torchattacks",) * 2, ("foolbox",) * 2, ("adv_lib", "adv-lib")]
    there = [name for module, name in names if importlib.util.find_spec(module)]
    return ", ".join(f"{name} {version(name)}" for name in there)


def _torchattacks() -> dict[str, Attack]:
    import torchattacks  # noqa: PLC0415 – may be missing

    def doubling(model: nn.Module, images: Tensor, labels: Tensor) -> Found:
        """PGDL2 knows one radius: the loop of the paper's Algorithm 1 around it."""
        found, radius = images.clone(), torch.full((len(images),), EPS_INIT, device=images.device)
        active = torch.arange(len(images), device=images.device)
        for _ in range(DOUBLINGS):
            eps = float(radius[active[0]])
            pgd = torchattacks.PGDL2(
                model, eps=eps, alpha=STEP * eps, steps=STEPS, random_start=False
            )
            found[active] = pgd(images[active], labels[active])
            with torch.no_grad():
                right = model(found[active]).argmax(1) == labels[active]
            active = active[right]
            if not len(active):
                break
            radius[active] *= 2
        return Found(found, radius)

    def deepfool(model: nn.Module, images: Tensor, labels: Tensor) -> Found:
        return Found(torchattacks.DeepFool(model)(images, labels))

    return {"PGDL2-50, doubling": doubling, "DeepFool": deepfool}


def _foolbox() -> dict[str, Attack]:
    import foolbox  # noqa: PLC0415 – may be missing
    from foolbox import attacks  # noqa: PLC0415

    def run(
        attack: Any, model: nn.Module, images: Tensor, labels: Tensor, epsilons: list[float] | None
    ) -> Found:
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device=images.device)
        criterion = foolbox.criteria.Misclassification(labels)
        _, clipped, success = attack(wrapped, images, criterion, epsilons=epsilons)
        if epsilons is None:
            return Found(clipped)
        first = success.int().argmax(0)  # of the radii, the first that succeeds
        chosen = torch.stack(clipped)[first, torch.arange(len(images), device=images.device)]
        return Found(chosen, torch.tensor(epsilons, device=images.device)[first])

    pgd = attacks.L2ProjectedGradientDescentAttack(
        rel_stepsize=STEP, steps=STEPS, random_start=False
    )
    doubled = [EPS_INIT * 2**level for level in range(6)]
    return {
        "DDN 20": partial(run, attacks.DDNAttack(steps=20), epsilons=None),
        "DDN 100": partial(run, attacks.DDNAttack(), epsilons=None),
        "DeepFool": partial(run, attacks.L2DeepFoolAttack(), epsilons=None),
        "L2PGD-50, 6 radii": partial(run, pgd, epsilons=doubled),
    }


def _adv() -> dict[str, Attack]:
    if "visdom" not in sys.modules and importlib.util.find_spec("visdom") is None:
        # adv_lib imports visdom, only to draw its progress; visdom's sdist needs pkg_resources,
        # which today's setuptools lacks, so that it builds hardly anywhere. It is never called.
        sys.modules["visdom"] = types.ModuleType("visdom")
    from adv_lib import attacks  # noqa: PLC0415 – may be missing

    def of(attack: Callable[..., Tensor], **settings: Any) -> Attack:
        return lambda model, images, labels: Found(attack(model, images, labels, **settings))

    return {
        # levels=None: without rounding to 8 bits, which would cost it distance
        "DDN 20": of(attacks.ddn, steps=20, levels=None),
        "DDN 100": of(attacks.ddn, steps=100, levels=None),
        "FMN 10": of(attacks.fmn, norm=2, steps=10),
        "FMN 100": of(attacks.fmn, norm=2, steps=100),
        "DeepFool": of(attacks.df),
        "SuperDeepFool": of(attacks.sdf),
        "ALMA 100": of(attacks.alma, num_steps=100),
        "ALMA 500": of(attacks.alma, num_steps=500),
    }
