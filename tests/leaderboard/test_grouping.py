"""What two runs share, and what keeps them apart."""

import dataclasses

from machines import run

from harness.leaderboard.grouping import hardware_of, row_of


def test_equal_settings_are_one_row_however_their_numbers_are_written():
    whole, real = {"a": 1, "b": [2, {"c": 3}]}, {"b": [2.0, {"c": 3.0}], "a": 1.0}

    assert row_of(run("m", 0, config=whole)) == row_of(run("m", 1, config=real))
    assert row_of(run("m", 0, config=whole)) != row_of(run("m", 0, config={**whole, "a": 1.5}))
    assert row_of(run("m", 0, config=whole)) != row_of(run("n", 0, config=whole))


def test_a_cpu_is_named_with_what_makes_its_numbers_and_seconds_its_own():
    line = run("m", 0, machine="box")
    known = {**line.circumstances, "capability": "AVX2"}
    on_gpu = {**line.circumstances, "device": "cuda"}

    assert hardware_of(line) == "box (cpu, 1 thread(s) a process)"
    assert hardware_of(dataclasses.replace(line, circumstances=known)).startswith("box (cpu, AVX2")
    assert hardware_of(dataclasses.replace(line, circumstances=on_gpu)) == "box (cuda)"
