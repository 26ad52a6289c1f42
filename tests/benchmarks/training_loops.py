"""The loops that ``training_speed.py`` times, and the networks and images that they train on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.datasets import CIFAR10
from torchvision.models.resnet import BasicBlock

from harness import Augmentation, Batch, Data, Recipe, batches, cross_entropy, train
from harness.specs.augmentation import CROP_PADDING
from harness.training.flops import FlopCounter

LR, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 5e-4

FLOOR, OURS = "prepared batches, channels_last, fused SGD (the floor)", "**harness.train**"
PLAIN = "DataLoader loop, {} workers"
PLAIN_STEPS = "prepared batches, NCHW, SGD"
BF16 = ", bf16"

Epoch = Callable[[nn.Module], object]


@dataclass(frozen=True, eq=False)
class Case:
    """One network on one data set."""

    name: str
    network: nn.Module
    data: Data
    batch: int
    augmentation: Augmentation

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return -(-len(self.data) // self.batch)


class PilImages(Dataset[tuple[Tensor, int]]):
    """What torchvision's CIFAR10 does with its arrays."""

    def __init__(self, case: Case) -> None:
        images = case.data.images.cpu()
        grey = images.shape[1] == 1
        self._arrays = (images[:, 0] if grey else images.permute(0, 2, 3, 1)).numpy()
        self._labels = case.data.labels.tolist()
        steps: list[Callable[[Image.Image], Image.Image | Tensor]] = []
        if case.augmentation.crop:
            steps.append(transforms.RandomCrop(images.shape[-1], padding=CROP_PADDING))
        if case.augmentation.flip:
            steps.append(transforms.RandomHorizontalFlip())
        self._transform = transforms.Compose([*steps, transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self._transform(Image.fromarray(self._arrays[row])), self._labels[row]


def steps_on(
    model: nn.Module,
    case: Case,
    stream: Iterable[tuple[Tensor, Tensor]],
    *,
    fused: bool = False,
    bf16: bool = False,
) -> None:
    """An ordinary epoch of SGD with a one-cycle schedule on whatever batches come."""
    device = case.data.device
    optimizer = torch.optim.SGD(
        model.parameters(), LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, fused=fused or None
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LR, total_steps=case.steps + 1, cycle_momentum=False
    )
    model.train()
    for some_images, some_labels in stream:
        images = some_images.to(device, non_blocking=True)
        labels = some_labels.to(device, non_blocking=True)
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        scheduler.step()


def loader(case: Case, workers: int) -> DataLoader[tuple[Tensor, int]]:
    """Shuffled batches of PIL images, its workers kept from epoch to epoch."""
    return DataLoader(
        PilImages(case),
        batch_size=case.batch,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=case.data.device.type == "cuda",
    )


def prepared(case: Case, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """The batches of one epoch of ``harness.train`` with this generator."""
    made = batches(case.data, batch=case.batch, generator=generator, augmentation=case.augmentation)
    return [(part.images, part.labels) for part in made]


def ours(model: nn.Module, case: Case, generator: torch.Generator, *, bf16: bool = False) -> None:
    """One epoch of ``harness.train``."""
    recipe = Recipe(1, LR, case.batch, MOMENTUM, WEIGHT_DECAY, augmentation=case.augmentation)
    train(model, case.data, recipe, generator=generator, loss=cross_entropy if bf16 else in_float32)


def in_float32(model: nn.Module, batch: Batch) -> Tensor:
    """The mean cross-entropy without the autocast that ``harness.train`` turns on on a GPU."""
    with torch.autocast(batch.images.device.type, enabled=False):
        return cross_entropy(model, batch)


def counted(model: nn.Module, case: Case, generator: torch.Generator) -> None:
    """The same as in a run, where the passes are counted."""
    with FlopCounter():
        ours(model, case, generator)


def difference(case: Case) -> float:
    """The largest difference between the weights of the floor's epoch and of ours."""
    floor, own = (
        copy.deepcopy(case.network).to(memory_format=torch.channels_last) for _ in range(2)
    )
    steps_on(floor, case, prepared(case, torch.Generator().manual_seed(0)), fused=True)
    ours(own, case, torch.Generator().manual_seed(0))
    pairs = zip(floor.state_dict().values(), own.state_dict().values(), strict=True)
    return max(float((one - other).abs().max()) for one, other in pairs)


def competitors(case: Case) -> dict[str, Epoch]:
    """One epoch each, by the name of the row; a model in the right memory format goes in."""
    generator = torch.Generator().manual_seed(0)
    ready = prepared(case, generator)
    rows = [(images.contiguous(), labels) for images, labels in ready]
    loaders = {workers: loader(case, workers) for workers in (0, 2)}
    table: dict[str, Epoch] = {
        FLOOR: lambda model: steps_on(model, case, ready, fused=True),
        OURS: lambda model: ours(model, case, generator),
        f"{OURS}, passes counted": lambda model: counted(model, case, generator),
        **{
            PLAIN.format(workers): lambda model, some=some: steps_on(model, case, some)
            for workers, some in loaders.items()
        },
        PLAIN_STEPS: lambda model: steps_on(model, case, rows),
        "prepared batches, channels_last, SGD": lambda model: steps_on(model, case, ready),
    }
    if case.data.device.type == "cuda":
        table[FLOOR + BF16] = lambda model: steps_on(model, case, ready, fused=True, bf16=True)
        table[OURS + BF16] = lambda model: ours(model, case, generator, bf16=True)
    return table


def cases(device: torch.device, folder: Path | None) -> list[Case]:
    """The small networks of a CPU, or a ResNet-18 of full width on a GPU."""
    full = Augmentation(crop=True, flip=True)
    torch.manual_seed(0)
    if device.type == "cuda":
        network = timm.create_model("resnet18", num_classes=10)
        network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        network.maxpool = nn.Identity()
        colour = colours((12_800, 3, 32, 32), device, folder)
        return [Case("timm resnet18, small stem", network.to(device), colour, 128, full)]
    digits = colours((1000, 1, 16, 16), device, None)
    small = timm.create_model("test_resnet", in_chans=1, num_classes=10)
    return [
        Case("timm test_resnet, 1×16×16, batch 64", small, digits, 64, Augmentation()),
        Case(
            "ResNet-18 of width 8, 3×32×32, batch 64, crop and flip",
            slim_resnet18(width=8),
            colours((512, 3, 32, 32), device, folder),
            64,
            full,
        ),
    ]


def colours(shape: tuple[int, ...], device: torch.device, folder: Path | None) -> Data:
    """Random bytes, or as many images of a CIFAR-10 that lies in the folder."""
    labels = torch.randint(0, 10, shape[:1])
    if folder is None:
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
    else:
        pixels = torch.from_numpy(CIFAR10(folder).data[: shape[0]]).permute(0, 3, 1, 2).contiguous()
    return Data.of(pixels, labels).to(device)


def slim_resnet18(width: int) -> nn.Module:
    """ResNet-18 with the small-image stem and ``width`` channels in its first stage."""
    layers: list[nn.Module] = [convolution(3, width, 3, 1), nn.ReLU()]
    inside = width
    for stage in range(4):
        planes, stride = width * 2**stage, 1 if stage == 0 else 2
        shortcut = convolution(inside, planes, 1, stride) if stage else None
        layers += [BasicBlock(inside, planes, stride, shortcut), BasicBlock(planes, planes)]
        inside = planes
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, 10))


def convolution(inside: int, outside: int, size: int, stride: int) -> nn.Module:
    """A convolution with its normalisation."""
    filters = nn.Conv2d(inside, outside, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(filters, nn.BatchNorm2d(outside))
