"""The warm-up imports every library that a step would import later."""

import subprocess
import sys

STEPS = """
import sys

import torch

from harness.plugins.catalog import load_catalog
from harness.runs.warm import warm
from harness.specs.evidence import (
    Cost, Ensembles, Evidence, Labels, Outputs, References, Replays
)

protocols = load_catalog().protocols.values()
logits = Outputs(*(torch.randn(1500, 3) for _ in range(3)))
labels = Labels(*(torch.arange(1500) % 3 for _ in range(3)))
every = torch.cat([labels.forget, labels.retain, labels.test])
own = torch.cat([logits.forget, logits.retain, logits.test])
place = torch.arange(4500)
state = torch.stack([(place + half) % 2 * 2 for half in range(4)]).to(torch.int8)
pool = torch.randn(4, 4500, 3).half()
several = [Outputs(*(torch.randn(1500, 3) for _ in range(3))) for _ in range(12)]
evidence = Evidence(
    logits, labels, torch.arange(1500), (), Cost({}, 0.0),
    References(pool, state, every, *place.split(1500), own),
    Replays(pool, state, every),
    Ensembles(tuple(several[:6]), tuple(several[6:]), labels),
)
warm()
before = {*sys.modules}
model = torch.nn.Linear(2, 2)
for kind in (torch.optim.SGD, torch.optim.AdamW):
    optimizer = kind(model.parameters(), lr=0.1)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
single = Labels(torch.zeros(1500, dtype=torch.int64), labels.retain, labels.test)
of_class = Evidence(logits, single, evidence.nonmembers, (), evidence.cost)
for protocol in protocols:
    own = evidence if "random" in protocol.defined_for else of_class
    found = protocol.measure(own)
    values = {name: each.value for name, each in found.items() if "0.1%" not in name}
    assert None not in values.values(), (protocol.name, values)
print(*sorted({*sys.modules} - before))
"""


def test_no_step_imports_a_module_after_the_warm_up():
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)

    assert done.stdout.split() == []
