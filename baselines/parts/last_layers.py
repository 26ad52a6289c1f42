"""The last k blocks of any network: find them, reinitialise them, train only them.

Blocks follow the order in which a network registers its parts: the parts of its outermost module
that has several, with sequences and lists of modules opened. A part whose weights are all vectors
(a normalisation) belongs to the block before it. So ResNet's are its stem, its residual blocks and
its classifier; a ViT's its patch embedding, its transformer blocks and its head.

Epochs and learning rate are DeepUnlearn's. Its one block is a stage and the classifier: k = 2 where
a stage is one block, 3 on a ResNet-18. Deviations from its code: the scenario's momentum and weight
decay (there none, and an L2 pull to the start), a one-cycle schedule (there steps), and the
BatchNorm statistics of the trained blocks move (there none do). Goel's code counts convolutions and
linear layers, trains for 62 epochs, and lets every statistic move.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from harness import Batch, Span, Task, cross_entropy, fine_tune, require_no_negative

SEARCH: Mapping[str, Span] = {
    "epochs": Span(1, 8),
    "lr": Span(1e-3, 0.3, log=True),
    "k": Span(1, 4),
}
"""Of CF-k and EU-k."""


@dataclass(frozen=True)
class LastLayersConfig:
    """Settings of the training of the last blocks."""

    epochs: int = 10
    lr: float = 0.01
    k: int = 2
    """How many blocks are trained, the classifier among them."""

    def __post_init__(self) -> None:
        require_no_negative(self)
        if self.k < 1:
            raise ValueError(f"k must be at least 1; got {self.k}")


def blocks(model: nn.Module) -> list[list[str]]:
    """Names of the modules of each block, first to last."""
    found: list[list[str]] = []
    for name, part in _parts("", model):
        if found and all(weight.ndim < 2 for weight in part.parameters()):
            found[-1].append(name)
        else:
            found.append([name])
    return found


def last_names(model: nn.Module, k: int) -> list[str]:
    """Names of the modules in the last k blocks; the whole network's where it has no more."""
    found = blocks(model)
    return [""] if k >= len(found) else [name for block in found[-k:] for name in block]


def reinitialise(task: Task, names: list[str]) -> None:
    """Puts a new network's weights and statistics into these modules of the task's model."""
    fresh = task.untrained()
    for name in names:
        state = fresh.get_submodule(name).state_dict()
        task.model.get_submodule(name).load_state_dict(state)


def train_only(task: Task, names: list[str], config: LastLayersConfig) -> nn.Module:
    """The task's model after ``CE(retain)`` in these modules; everything else stays bit for bit.

    Frozen modules run in eval mode, so that BatchNorm keeps and uses its statistics.
    """
    model = task.model
    chosen = [model.get_submodule(name) for name in names]
    trained = {weight for module in chosen for weight in module.parameters()}
    moving = {part for module in chosen for part in module.modules()}
    wanted = [(weight, weight.requires_grad) for weight in model.parameters()]
    for weight, wants in wanted:
        weight.requires_grad_(wants and weight in trained)

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        for part in model.modules():
            part.training = part in moving
        return cross_entropy(model, batch)

    fine_tune(task, task.retain, epochs=config.epochs, lr=config.lr, loss=loss)
    for weight, wants in wanted:
        weight.requires_grad_(wants)
    return model.eval()


def _parts(name: str, module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The parts of a module with weights, opened as the first docstring says."""
    children = _with_weights(name, module)
    while len(children) == 1:
        name, module = children[0]
        children = _with_weights(name, module)
    if not children:
        return [(name, module)]
    return [part for child in children for part in _opened(*child)]


def _opened(name: str, module: nn.Module) -> list[tuple[str, nn.Module]]:
    if not isinstance(module, nn.Sequential | nn.ModuleList):
        return [(name, module)]
    return [part for child in _with_weights(name, module) for part in _opened(*child)]


def _with_weights(name: str, module: nn.Module) -> list[tuple[str, nn.Module]]:
    return [
        (f"{name}.{child}" if name else child, part)
        for child, part in module.named_children()
        if any(True for _ in part.parameters())
    ]
