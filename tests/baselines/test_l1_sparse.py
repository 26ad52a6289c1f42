"""l1-sparse: the fading penalty makes the weights small."""

from baselines.l1_sparse import L1SparseConfig, l1_sparse


def test_the_l1_penalty_shrinks_the_weights(task):
    state = {name: value.clone() for name, value in task.model.state_dict().items()}
    norms = []
    for gamma in (0.0, 0.05):
        task.model.load_state_dict(state)
        model = l1_sparse(task, L1SparseConfig(3, 0.05, gamma))
        norms.append(sum(w.abs().sum() for w in model.parameters()).item())

    assert norms[1] < 0.8 * norms[0]
