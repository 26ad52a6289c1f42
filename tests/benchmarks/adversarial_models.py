"""Two networks at 100 % on their train set, and the images that the attacks start from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_model, save_model
from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn

from harness import Data, Recipe, UserError, as_float, predict, train
from harness.backbones.build import Normalised
from harness.backbones.trial import design_backbone
from harness.datasets.builtin import channel_statistics, load_dataset, unlearning_datasets

NOISE = 0.02
"""Standard deviation of the noise that makes further samples where the train set is used up."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A trained model with its train set."""

    name: str
    model: nn.Module
    """In eval mode; takes images in [0, 1]."""
    train: Data
    right: Tensor
    """``(n,)`` bool: the rows of the train set that it labels correctly."""

    def samples(self, n: int) -> tuple[Tensor, Tensor]:
        """``n`` images float32 in [0, 1] and their labels: train rows, then noisy copies of them.

        Rows that the model labels correctly, in one fixed order, so that fewer samples are the
        beginning of more.
        """
        generator = torch.Generator().manual_seed(0)
        order = torch.randperm(len(self.train), generator=generator)
        order = order[self.right.cpu()[order]]
        some = self.train.select(order.repeat(-(-n // len(order)))[:n])
        images = as_float(some.images)
        noise = torch.randn(images.shape, generator=generator) * NOISE
        noise[: len(order)] = 0
        return (images + noise.to(images.device)).clamp(0, 1), some.labels


@dataclass(frozen=True, eq=False)
class Training:
    """What is trained, on what, for how long."""

    name: str
    dataset: str
    rows: int
    """The first so many of the train set."""
    build: Callable[[Data], nn.Module]
    epochs: int

    def make(self, cache: Path, root: Path, device: torch.device) -> Subject:
        """Trains the network, or takes the weights that an earlier run left in ``cache``."""
        data, _ = load_dataset(self.dataset, {d.name: d for d in unlearning_datasets()}, root)
        data = data.select(torch.arange(min(self.rows, len(data)))).to(device)
        torch.manual_seed(0)
        model = self.build(data).to(device)
        key = f"{self.name} {self.rows} {self.epochs} {model} {device.type} {torch.__version__}"
        file = cache / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"
        if file.exists():
            load_model(model, file, device=str(device))
        else:
            print(f"Training: {self.name} …", flush=True)
            generator = torch.Generator().manual_seed(0)
            train(model, data, Recipe(self.epochs, 0.1), generator=generator)
            cache.mkdir(parents=True, exist_ok=True)
            save_model(model, str(file))
        right = predict(model, data).argmax(1) == data.labels
        return Subject(self.name, model.eval(), data, right)


def digits(cache: Path, device: torch.device) -> Subject:
    """The ``test_resnet`` of timm on scikit-learn's digits, 1×16×16."""
    return Training("digits", "digits", 1_000, _named("test_resnet", "own"), 20).make(
        cache, Path(), device
    )


def cifar(cache: Path, root: Path | None, device: torch.device) -> Subject:
    """A ResNet of [2, 2, 2, 2] blocks on 5,000 images of CIFAR-10: slim, or ResNet-18 on a GPU.

    Raises UserError where ``root`` has no CIFAR-10; nothing is downloaded.
    """
    if root is None or not (root / "cifar-10-batches-py").is_dir():
        raise UserError(f"no cifar-10-batches-py in --data {root}")
    build = _named("resnet18", "small") if device.type == "cuda" else _slim
    return Training("CIFAR-10", "CIFAR10", 5_000, build, 25).make(cache, root, device)


def _named(backbone: str, stem: str) -> Callable[[Data], nn.Module]:
    def build(data: Data) -> nn.Module:
        mean, std = channel_statistics(data)
        design = design_backbone(backbone, {}, shape=data.shape, classes=10, stem=stem)
        return design.build(mean, std)

    return build


def _slim(data: Data) -> nn.Module:
    """ResNet-18 in form, 16 to 128 channels wide, with a 3×3 stem of stride 1 and no pooling."""
    net = ResNet(BasicBlock, (2, 2, 2, 2), num_classes=10, channels=(16, 32, 64, 128))
    net.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
    net.bn1 = nn.BatchNorm2d(16)
    net.maxpool = nn.Identity()
    net.layer1 = nn.Sequential(BasicBlock(16, 16), BasicBlock(16, 16))
    return Normalised(net, *channel_statistics(data))
