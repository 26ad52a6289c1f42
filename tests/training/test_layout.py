"""What strangers' loops do with a model's weights works on those that a method gets."""

METHODS = """
import torch
from dataclasses import dataclass
from torch import nn
from torch.nn.utils import parameters_to_vector, prune, vector_to_parameters
from harness import Method, fine_tune, hookimpl

@dataclass(frozen=True)
class Nothing:
    pass

def vector(task, config):
    flat = parameters_to_vector(task.model.parameters())
    vector_to_parameters(flat * 0.9, task.model.parameters())
    return task.model

def gradients(task, config):
    x, y = task.forget.images.float() / 255, task.forget.labels
    nn.functional.cross_entropy(task.model(x), y).backward()
    flat = torch.cat([p.grad.view(-1) for p in task.model.parameters()])
    assert flat.isfinite().all()
    return task.model

def pruned(task, config):
    for layer in task.model.modules():
        if isinstance(layer, nn.Conv2d):
            prune.l1_unstructured(layer, "weight", amount=0.3)
            prune.remove(layer, "weight")
    return task.model

def tuned_then_flat(task, config):
    model = fine_tune(task, task.retain, epochs=1, lr=0.01)
    vector_to_parameters(parameters_to_vector(model.parameters()), model.parameters())
    [p.data.view(-1) for p in model.parameters()]
    return model

def fresh(task, config):
    parameters_to_vector(task.untrained().parameters())
    return task.model

@hookimpl
def unlearning_methods():
    found = vector, gradients, pruned, tuned_then_flat, fresh
    return [Method(each.__name__, each, Nothing()) for each in found]
"""


def test_flat_vectors_flat_gradients_and_pruning_work_on_the_weights(work, unlearn):
    (work / "flat.py").write_text(METHODS)
    methods = ("vector", "gradients", "pruned", "tuned_then_flat", "fresh")
    problem = ("--scenario", "tiny", "--backbone", "test_resnet", "--replicates", "1")

    status, out, err = unlearn("run", *methods, *problem, "-p", "flat.py")

    assert (status, err) == (0, "")
    assert "did 9 models" in out
