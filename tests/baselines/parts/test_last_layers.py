"""The last k blocks, and the two methods that train them alone."""

from dataclasses import replace

import pytest
import torch
from update_rules import state

from baselines.cf_k import cf_k
from baselines.eu_k import eu_k
from baselines.parts.last_layers import LastLayersConfig, blocks, last_names
from harness.backbones.trial import design_backbone

CLASSES = 4


@pytest.fixture
def task(plain_task):
    return plain_task


@pytest.mark.parametrize("method", [cf_k, eu_k])
def test_all_before_the_last_blocks_stays_bit_for_bit_with_its_statistics(task, method):
    before = state(task.model)
    heavy = replace(task.scenario.recipe, momentum=0.9, weight_decay=0.1)
    task = replace(task, scenario=replace(task.scenario, recipe=heavy))

    after = state(method(task, LastLayersConfig(3, 0.1, k=1)))

    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"4.weight", "4.bias"}
    assert all(weight.requires_grad for weight in task.model.parameters())


@pytest.mark.parametrize("method", [cf_k, eu_k])
def test_with_k_past_the_last_block_all_is_trained(task, method):
    before = state(task.model)

    after = state(method(task, LastLayersConfig(2, 0.1, k=9)))

    assert not any(torch.equal(before[name], after[name]) for name in before)


def test_cf_k_starts_from_the_original_and_eu_k_from_new_weights(task):
    fresh = task.untrained()
    task = replace(task, untrained=lambda: fresh)
    old = task.model[4].weight.clone()

    kept = cf_k(task, LastLayersConfig(0, k=1))[4].weight.clone()
    renewed = eu_k(task, LastLayersConfig(0, k=1))[4].weight

    assert torch.equal(kept, old)
    assert torch.equal(renewed, fresh[4].weight)
    assert not torch.equal(renewed, old)


@pytest.mark.parametrize(
    ("backbone", "last"),
    [
        ("test_resnet", ["net.layer4.0", "net.fc"]),
        ("test_vit[img_size=16,patch_size=4]", ["net.blocks.5", "net.norm", "net.head"]),
    ],
)
def test_the_last_two_blocks_are_one_block_and_the_classifier(backbone, last):
    design = design_backbone(backbone, {}, shape=(1, 16, 16), classes=CLASSES, stem="own")
    model = design.build([0.5], [0.25])

    assert last_names(model, 2) == last
    weights = {name for name, part in model.named_modules() if list(part.parameters(recurse=False))}
    covered = tuple(name for block in blocks(model) for name in block)
    assert {name for name in weights if not name.startswith(covered)} <= {"net"}
