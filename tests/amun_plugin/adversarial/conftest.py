"""What several tests of the attacks need: each attack, and a trained network with its digits."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from amun_plugin import Closest, Pgd


@pytest.fixture(
    params=[Pgd(), Pgd(restart="origin"), Pgd(restart="origin", order="ascending"), Closest()],
    ids=str,
)
def method(request):
    return request.param


@pytest.fixture(scope="session")
def digits():
    """A small network at 100 % on 400 digits, with those images and labels."""
    bunch = load_digits()
    x = torch.as_tensor(bunch.images[:400], dtype=torch.float32)[:, None] / 16
    y = torch.as_tensor(bunch.target[:400])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            *(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 32, 3, stride=2, bias=False), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(288, 10)),
        )
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        for step in range(150):
            rows = torch.arange(step * 64, step * 64 + 64) % 400
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    model.eval()
    assert (model(x).argmax(1) == y).all()
    return model, x, y
