"""Times a training step of ``harness.train`` against its floor and against a plain PyTorch loop.

The floor is the same steps on batches that were prepared beforehand. The plain loop is the ordinary
one: PIL images, torchvision transforms, a DataLoader with 0 and with 2 workers (started before the
clock), NCHW, SGD. Everything is interleaved in one process; a ratio is taken within a round, and
the table gives the median over rounds with the smallest and the largest.

    python tests/benchmarks/training_speed.py [--threads 1 2] [--rounds 9] [--device cuda]
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
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

from harness import Augmentation, Data, batches, train
from harness.data import CROP_PADDING
from harness.models import circumstances
from harness.passes import FlopCounter
from harness.training import synchronised

LR, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 5e-4
SECONDS_A_SETTING = 40.0
"""No further round begins after this, whatever ``--rounds`` says."""

FLOOR, OURS = "prepared batches, channels_last, fused SGD (the floor)", "**harness.train**"
PLAIN = "DataLoader loop, {} workers"
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


def competitors(case: Case) -> dict[str, Epoch]:
    """One epoch each, by the name of the row; a model in the right memory format goes in."""
    generator = torch.Generator().manual_seed(0)
    prepared = [
        (part.images, part.labels)
        for part in batches(
            case.data, batch=case.batch, generator=generator, augmentation=case.augmentation
        )
    ]
    rows = [(images.contiguous(), labels) for images, labels in prepared]
    loaders = {workers: loader(case, workers) for workers in (0, 2)}

    def ours(model: nn.Module, *, bf16: bool = False) -> None:
        train(
            model,
            case.data,
            epochs=1,
            lr=LR,
            generator=generator,
            batch=case.batch,
            augmentation=case.augmentation,
            bf16=bf16,
        )

    def counted(model: nn.Module) -> None:
        with FlopCounter():
            ours(model)

    table: dict[str, Epoch] = {
        FLOOR: lambda model: steps_on(model, case, prepared, fused=True),
        OURS: ours,
        f"{OURS}, passes counted": counted,
        **{
            PLAIN.format(workers): lambda model, some=some: steps_on(model, case, some)
            for workers, some in loaders.items()
        },
        "prepared batches, NCHW, SGD": lambda model: steps_on(model, case, rows),
        "prepared batches, channels_last, SGD": lambda model: steps_on(model, case, prepared),
    }
    if case.data.device.type == "cuda":
        table[FLOOR + BF16] = lambda model: steps_on(model, case, prepared, fused=True, bf16=True)
        table[OURS + BF16] = lambda model: ours(model, bf16=True)
    return table


def milliseconds(case: Case, rounds: int) -> dict[str, list[float]]:
    """A step's wall-clock milliseconds by row and round, after one epoch of each to warm up."""
    table = competitors(case)
    times: dict[str, list[float]] = {name: [] for name in table}
    begin = time.perf_counter()
    for number in range(rounds + 1):
        if number > 1 and time.perf_counter() - begin > SECONDS_A_SETTING:
            break
        names = list(table)
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            ordinary = "NCHW" in name or "DataLoader" in name
            form = torch.contiguous_format if ordinary else torch.channels_last
            model = copy.deepcopy(case.network).to(memory_format=form)
            with synchronised(case.data.device):
                start = time.perf_counter()
                table[name](model)
            if number > 0:
                times[name].append((time.perf_counter() - start) / case.steps * 1e3)
    return times


def ratio(times: Mapping[str, list[float]], above: str, below: str) -> tuple[float, float, float]:
    """The median, the smallest and the largest of the rounds' ratios."""
    ratios = [a / b for a, b in zip(times[above], times[below], strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def report(case: Case, threads: int, times: Mapping[str, list[float]]) -> None:
    """Prints the table of one case, and its targets beside what was reached."""
    on_gpu = case.data.device.type == "cuda"
    n = len(times[FLOOR])
    print(f"\n### {case.name}, {threads} thread{'s' * (threads > 1)}, n = {n} rounds\n")
    print("| epoch of | ms a step (min – max) | against the floor (min – max) |\n|---|---|---|")
    for name, values in times.items():
        spread = f"{statistics.median(values):.2f} ({min(values):.2f} – {max(values):.2f})"
        median, low, high = ratio(times, name, FLOOR)
        print(f"| {name} | {spread} | {median:.3f} ({low:.3f} – {high:.3f}) |")
    plain = min((PLAIN.format(w) for w in (0, 2)), key=lambda name: statistics.median(times[name]))
    wanted = 8.0 if on_gpu else 1.0
    print()
    verdict("harness.train / floor", ratio(times, OURS, FLOOR), at_most=1.05)
    verdict(f"{plain} / harness.train", ratio(times, plain, OURS), at_least=wanted)
    if on_gpu:
        gain = ratio(times, plain, OURS + BF16)
        verdict(f"{plain} (fp32) / harness.train{BF16}", gain, at_least=wanted)


def verdict(
    name: str,
    reached: tuple[float, float, float],
    *,
    at_most: float = float("inf"),
    at_least: float = 0.0,
) -> None:
    """Prints a ratio beside its target."""
    median, low, high = reached
    target = f"at least {at_least:g}" if at_least else f"at most {at_most:g}"
    met = "met" if at_least <= median <= at_most else "MISSED"
    print(f"- {name}: {median:.3f} ({low:.3f} – {high:.3f}); target {target}: {met}")


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


def describe(device: torch.device) -> str:
    """The hardware and the versions, in one line."""
    facts = circumstances(device)
    versions = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    return f"{facts['hardware']}, {os.cpu_count()} cores; Python {facts['python']}, {versions}"


def main() -> None:
    """Measures every case at every number of threads."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=9, help="at most; a setting has 40 s")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--data", type=Path, help="a folder with CIFAR-10 (default: random images)")
    asked = parser.parse_args()
    try:
        todo = cases(torch.device(asked.device), asked.data)
    except RuntimeError as error:  # no such device, or no CIFAR-10 there
        sys.exit(f"training_speed.py: {error}")
    print(f"{describe(torch.device(asked.device))}; load at the start {os.getloadavg()[0]:.1f}")
    for case in todo:
        for threads in asked.threads:
            torch.set_num_threads(threads)
            report(case, threads, milliseconds(case, asked.rounds))
    print(f"\nLoad at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
