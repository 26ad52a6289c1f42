"""The built-in protocols on crafted logits."""

from dataclasses import replace

import numpy as np
import pluggy
import pytest
import torch
from scipy.special import log_softmax
from sklearn.metrics import roc_auc_score
from sklearn.svm import SVC

from harness.attacks.population import modified_entropy
from harness.plugins import hookspecs
from harness.protocols import accuracy, affected_class, confidence_mia, entropy_mia, loss_mia
from harness.protocols.estimates import proportion
from harness.specs.evidence import Cost, Evidence, Labels, Outputs
from harness.specs.forgetting import KINDS
from harness.specs.protocol import Estimate

MODULES = [accuracy, affected_class, confidence_mia, entropy_mia, loss_mia]
PARTS = ("forget", "retain", "test")


def evidence(
    *, forget=120, retain=400, test=250, nonmembers=None, classes=5, seed=0, one_class=False
):
    """Logits on a grid of 1/64, surer on the retain set than on the other two.

    With ``one_class`` every forget row is of class 3.
    """
    generator = torch.Generator().manual_seed(seed)
    sizes, sureness = (forget, retain, test), (2.0, 4.0, 1.5)
    labels = [torch.randint(classes, (n,), generator=generator) for n in sizes]
    if one_class:
        labels[0].fill_(3)
    logits = []
    for label, sure in zip(labels, sureness, strict=True):
        noise = torch.randn(len(label), classes, generator=generator) * 2
        noise[torch.arange(len(label)), label] += sure
        logits.append((noise * 64).round() / 64)
    rows = torch.arange(0, test, 2) if nonmembers is None else nonmembers
    return Evidence(Outputs(*logits), Labels(*labels), rows, (), Cost({}, 0.0))


def binary(**margins):
    """Two classes, label 0 throughout, and the given margins of the recorded label."""
    logits = [torch.tensor([[margin, 0.0] for margin in margins[part]]) for part in PARTS]
    labels = [torch.zeros(len(margins[part]), dtype=torch.int64) for part in PARTS]
    rows = torch.arange(len(margins["test"]))
    return Evidence(Outputs(*logits), Labels(*labels), rows, (), Cost({}, 0.0))


def with_target(given, **logits):
    return replace(given, target=replace(given.target, **logits))


def confidence(logits, labels):
    """Row by row, with numpy alone."""
    rows = zip(logits.double().numpy(), labels.tolist(), strict=True)
    return np.array([np.exp(log_softmax(row))[label] for row, label in rows])


def svc_by_hand(given):
    n = len(given.labels.test)
    forget, retain, test = (
        confidence(getattr(given.target, part), getattr(given.labels, part)) for part in PARTS
    )
    x = np.concatenate([retain[:n], test]).reshape(-1, 1)
    y = np.concatenate([np.ones(len(retain[:n])), np.zeros(n)])
    model = SVC(C=3, gamma="auto", kernel="rbf").fit(x, y)
    return 100 * np.mean(model.predict(forget.reshape(-1, 1)) == 0)


@pytest.fixture(params=MODULES, ids=lambda module: module.__name__.rsplit(".", 1)[-1])
def protocol(request):
    (only,) = request.param.unlearning_protocols()
    return only


def suited(protocol, **sizes):
    """Evidence of a kind that the protocol is defined for."""
    return evidence(one_class="random" not in protocol.defined_for, **sizes)


class TestEveryProtocol:
    def test_measures_exactly_the_metrics_that_it_declares(self, protocol):
        estimates = protocol.measure(suited(protocol))

        assert list(estimates) == [metric.name for metric in protocol.metrics]

    def test_gives_percentages_inside_their_intervals(self, protocol):
        estimates = protocol.measure(suited(protocol, test=2000))

        for estimate in estimates.values():
            assert 0 <= estimate.low <= estimate.value <= estimate.high <= 100
            assert estimate.n > 0

    def test_compares_with_the_retrained_models(self, protocol):
        assert {metric.goal for metric in protocol.metrics} == {"match"}
        assert {metric.unit for metric in protocol.metrics} == {"%"}

    def test_does_not_see_a_constant_added_to_a_rows_logits(self, protocol):
        given = suited(protocol, test=2000)
        shifted = {
            part: logits + torch.arange(len(logits))[:, None] % 7
            for part, logits in vars(given.target).items()
        }

        assert protocol.measure(with_target(given, **shifted)) == protocol.measure(given)

    def test_does_not_see_the_order_of_the_forget_set(self, protocol):
        given = suited(protocol, test=1000, nonmembers=torch.arange(1000))
        order = torch.randperm(120, generator=torch.Generator().manual_seed(1))
        permuted = replace(
            with_target(given, forget=given.target.forget[order]),
            labels=replace(given.labels, forget=given.labels.forget[order]),
        )

        after, before = protocol.measure(permuted), protocol.measure(given)

        for name, estimate in before.items():
            assert after[name].value == pytest.approx(estimate.value, abs=1e-9)

    def test_takes_each_label_for_its_own_row(self, protocol):
        given = suited(protocol)
        part = "forget" if protocol.defined_for == KINDS else "test"  # else they are of one class
        rolled = {part: getattr(given.labels, part).roll(1)}
        wrong = replace(given, labels=replace(given.labels, **rolled))

        assert protocol.measure(wrong) != protocol.measure(given)

    def test_gives_the_same_twice_and_leaves_the_evidence_alone(self, protocol):
        given, untouched = suited(protocol), suited(protocol)

        first, second = protocol.measure(given), protocol.measure(given)

        assert first == second
        for part in PARTS:
            assert torch.equal(getattr(given.target, part), getattr(untouched.target, part))
            assert torch.equal(getattr(given.labels, part), getattr(untouched.labels, part))

    def test_measures_enormous_logits(self, protocol):
        given = suited(protocol, test=2000)
        huge = {part: logits * 1e30 for part, logits in vars(given.target).items()}

        estimates = protocol.measure(with_target(given, **huge))

        assert all(0 <= estimate.value <= 100 for estimate in estimates.values())

    def test_comes_through_the_hook(self):
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        for module in MODULES:
            manager.register(module)

        offered = manager.hook.unlearning_protocols()

        manager.check_pending()
        assert sorted(protocol.name for protocols in offered for protocol in protocols) == [
            "accuracy",
            "affected-class",
            "confidence-mia",
            "entropy-mia",
            "loss-mia",
        ]


class TestAccuracy:
    def test_is_the_share_of_rows_whose_largest_logit_is_the_labels(self):
        given = binary(forget=[1.0, -1.0, -1.0, -1.0], retain=[1.0] * 8, test=[2.0, -2.0])

        estimates = accuracy.measure(given)

        assert estimates == {
            "forget": proportion(1, 4),
            "retain": proportion(8, 8),
            "test": proportion(1, 2),
        }

    def test_of_an_empty_part_has_no_value_but_a_reason(self):
        estimates = accuracy.measure(evidence(test=0))

        assert estimates["test"].value is None
        assert estimates["test"].note


class TestAffectedClass:
    def test_counts_the_rows_of_the_forget_sets_class_apart_from_all_others(self):
        given = evidence(retain=300, test=200, one_class=True)
        rows = {
            part: [
                (int(logits.argmax()) == int(label), int(label) == 3)
                for logits, label in zip(
                    getattr(given.target, part), getattr(given.labels, part), strict=True
                )
            ]
            for part in ("retain", "test")
        }

        estimates = affected_class.measure(given)

        for part, found in rows.items():
            own = [correct for correct, is_own in found if is_own]
            others = [correct for correct, is_own in found if not is_own]
            assert estimates[part] == proportion(sum(own), len(own))
            assert estimates[f"others-{part}"] == proportion(sum(others), len(others))

    def test_a_class_that_is_forgotten_as_a_whole_has_no_retain_accuracy(self):
        given = evidence(one_class=True)
        kept = given.labels.retain != 3
        whole = replace(
            with_target(given, retain=given.target.retain[kept]),
            labels=replace(given.labels, retain=given.labels.retain[kept]),
        )

        estimates = affected_class.measure(whole)

        assert estimates["retain"] == Estimate(None, note="no retain image of the affected class")
        assert estimates["others-retain"].n == int(kept.sum())
        assert estimates["test"].value is not None

    @pytest.mark.parametrize(
        ("forget", "note"), [(120, "the forget set has 5 classes"), (0, "no forget images")]
    )
    def test_says_why_a_forget_set_of_no_single_class_has_no_value(self, forget, note):
        estimates = affected_class.measure(evidence(forget=forget))

        assert [*estimates.values()] == [Estimate(None, note=note)] * 4

    def test_is_defined_for_classes_alone(self):
        (protocol,) = affected_class.unlearning_protocols()

        assert protocol.defined_for == {"class", "partial-class"}


class TestLossMia:
    def test_has_scikit_learns_auc_of_the_log_probability(self):
        given = evidence()
        rows = given.nonmembers
        members = np.log(confidence(given.target.forget, given.labels.forget))
        nonmembers = np.log(confidence(given.target.test[rows], given.labels.test[rows]))
        truth = np.repeat([1, 0], [len(members), len(nonmembers)])

        estimate = loss_mia.measure(given)["auc"]

        assert estimate.value == pytest.approx(
            100 * roc_auc_score(truth, np.concatenate([members, nonmembers])), abs=1e-9
        )
        assert estimate.n == len(members) + len(rows)

    def test_is_100_where_every_forget_row_fits_better_and_0_where_worse(self):
        better = binary(forget=[3.0, 4.0], retain=[3.0], test=[1.0, 2.0])
        worse = binary(forget=[-3.0, 0.5], retain=[3.0], test=[1.0, 2.0])

        assert loss_mia.measure(better)["auc"].value == 100
        assert loss_mia.measure(worse)["auc"].value == 0

    def test_tells_rows_apart_whose_probability_rounds_to_one(self):
        given = binary(forget=[50.0, 60.0], retain=[3.0], test=[45.0, 49.0])

        assert loss_mia.measure(given)["auc"].value == 100

    def test_tells_rows_apart_that_float32_would_not(self):
        given = evidence(forget=1, retain=1, test=1, nonmembers=torch.arange(1), classes=3)
        close = Outputs(
            torch.tensor([[0.0, 8.0, -12.0]]), given.target.retain, torch.tensor([[0.0, 8.0, -9.0]])
        )
        first = Labels(*[torch.zeros(1, dtype=torch.int64)] * 3)

        assert loss_mia.measure(replace(given, target=close, labels=first))["auc"].value == 100

    def test_sees_only_the_non_members_among_the_test_rows(self):
        given = evidence()
        elsewhere = given.target.test.clone()
        elsewhere[1::2] += torch.arange(5.0) * 3

        changed = with_target(given, test=elsewhere)

        assert loss_mia.measure(changed) == loss_mia.measure(given)

    def test_says_why_there_is_no_tpr_on_few_non_members(self):
        few = evidence(test=1000, nonmembers=torch.arange(797))
        enough = evidence(test=1000, nonmembers=torch.arange(1000))

        assert loss_mia.measure(few)["tpr@1%fpr"].note == "not measurable at n = 797"
        assert loss_mia.measure(few)["tpr@1%fpr"].value is None
        assert loss_mia.measure(enough)["tpr@1%fpr"].value is not None

    def test_counts_the_members_above_all_but_one_percent_of_the_non_members(self):
        given = binary(forget=[9.895, 9.905, 20.0, -1.0], retain=[1.0], test=np.arange(1000) / 100)

        assert loss_mia.measure(given)["tpr@1%fpr"].value == 75

    def test_says_why_there_is_no_value_without_non_members(self):
        estimates = loss_mia.measure(evidence(nonmembers=torch.arange(0)))

        assert {estimate.note for estimate in estimates.values()} == {"no non-members"}


class TestConfidenceMia:
    @pytest.mark.parametrize("retain", [600, 250, 200], ids=["more", "as many", "fewer"])
    def test_is_the_published_attack(self, retain):
        given = evidence(retain=retain)

        estimate = confidence_mia.measure(given)["svc"]

        assert 0 < estimate.value < 100
        assert estimate.value == pytest.approx(svc_by_hand(given))
        assert estimate.n == 120

    def test_counts_the_forget_rows_that_look_like_test_rows(self):
        given = binary(forget=[6.0] * 3 + [-2.0], retain=[6.0] * 40, test=[-2.0] * 40)

        assert confidence_mia.measure(given)["svc"] == proportion(1, 4)

    def test_learns_from_the_first_rows_of_the_retain_set_alone(self):
        given = evidence(retain=400, test=250)
        later, first = given.target.retain.clone(), given.target.retain.clone()
        later[250:] = 0
        first[:250] = 0

        assert confidence_mia.measure(with_target(given, retain=later)) == confidence_mia.measure(
            given
        )
        assert confidence_mia.measure(with_target(given, retain=first)) != confidence_mia.measure(
            given
        )

    def test_learns_from_the_whole_test_set_whatever_the_non_members(self):
        given = evidence()

        assert confidence_mia.measure(
            replace(given, nonmembers=torch.arange(3))
        ) == confidence_mia.measure(given)

    def test_says_why_there_is_no_value_without_test_or_forget_rows(self):
        assert confidence_mia.measure(evidence(test=0))["svc"].note == "no test images"
        assert confidence_mia.measure(evidence(forget=0))["svc"].note == "no points"


class TestEntropyMia:
    def test_tells_sure_rows_apart_whose_probability_rounds_to_one(self):
        given = binary(forget=[50.0, 60.0], retain=[3.0], test=[45.0, 49.0])

        assert entropy_mia.measure(given)["auc"].value == 100

    def test_has_scikit_learns_auc(self):
        given = evidence()
        rows = given.nonmembers
        scores = [
            -modified_entropy(*pair)
            for pair in (
                (given.target.forget, given.labels.forget),
                (given.target.test[rows], given.labels.test[rows]),
            )
        ]
        truth = np.repeat([1, 0], [len(part) for part in scores])

        estimate = entropy_mia.measure(given)["auc"]

        assert estimate.value == pytest.approx(
            100 * roc_auc_score(truth, np.concatenate(scores)), abs=1e-9
        )
