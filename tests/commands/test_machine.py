"""The number of threads of each process."""

import os

import pytest

from harness.commands.machine import threads


@pytest.mark.parametrize(
    ("given", "cores", "processes", "expected"),
    [
        ("3", 8, 2, 3),
        ("", 8, 2, 4),
        ("0", 8, 2, 4),
        ("many", 8, 2, 4),
        ("", 2, 8, 1),
        ("", 8, 0, 8),
        ("", 64, 1, 16),
    ],
)
def test_processes_share_the_cores_unless_the_number_of_threads_is_given(
    given, cores, processes, expected, monkeypatch
):
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {*range(cores)}, raising=False)

    found = threads(processes)

    assert found == expected
