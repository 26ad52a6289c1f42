"""The twin that an attack asks, and how many rows it is asked about at once."""

from attacked import network, samples

from amun_plugin import Engine
from amun_plugin.adversarial.preparation import prepare
from amun_plugin.adversarial.twin import Caller, undisturbed


def prepared(model, x, **settings):
    caller = Caller(model, x, 256)
    with undisturbed(model):
        return prepare(caller, x[:1], caller.logits(x)[:1], Engine(**settings))


def test_a_batch_is_as_large_as_memory_allows(monkeypatch):
    model = network()
    x, _ = samples(model, 2)
    monkeypatch.setattr("amun_plugin.adversarial.preparation.CPU_MEMORY", 300_000)
    small = prepared(model, x).batch

    monkeypatch.setattr("amun_plugin.adversarial.preparation.CPU_MEMORY", 150_000)
    half = prepared(model, x).batch
    monkeypatch.undo()

    assert 1 <= half == small / 2
    assert small < prepared(model, x).batch == 256


def test_a_batch_that_the_engine_names_is_taken_as_it_is():
    model = network()
    x, _ = samples(model, 2)

    assert prepared(model, x, batch=5).batch == 5


def test_the_forwards_of_the_trial_are_counted():
    model = network()
    x, _ = samples(model, 2)

    assert prepared(model, x).forwards == 2  # the copy, and the folded copy
    assert prepared(model, x, fold=False).forwards == 1
