"""Random parts of the retain set."""

import pytest

from baselines.bad_teacher import BadTeacherConfig, bad_teacher
from baselines.unsir import UnsirConfig, unsir


@pytest.fixture
def task(plain_task):
    return plain_task


@pytest.mark.parametrize("method", ["bad-teacher", "unsir"])
def test_a_share_of_the_retain_set_is_drawn_once_and_no_other_row_is_seen(
    task, method, monkeypatch
):
    seen = []

    def noted(_task, data, **_rest):
        seen.append(set(data.index.tolist()) & set(task.retain.index.tolist()))
        return task.model

    monkeypatch.setattr(f"baselines.{method.replace('-', '_')}.fine_tune", noted)

    if method == "bad-teacher":
        bad_teacher(task, BadTeacherConfig(retain_share=0.3))
    else:
        unsir(task, UnsirConfig(retain_share=0.3))

    assert {len(rows) for rows in seen} == {12}  # of 40
    assert all(rows == seen[0] for rows in seen)
