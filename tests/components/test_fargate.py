from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import ArgumentError, Size
from components.fargate import MEMORY_BY_CPU, size_mistake

GIB = 1024


@pytest.mark.parametrize(
    ("cpu", "low", "high", "count"),
    [
        (256, 512, 2 * GIB, 3),
        (512, GIB, 4 * GIB, 4),
        (1024, 2 * GIB, 8 * GIB, 7),
        (2048, 4 * GIB, 16 * GIB, 13),
        (4096, 8 * GIB, 30 * GIB, 23),
        (8192, 16 * GIB, 60 * GIB, 12),
        (16384, 32 * GIB, 120 * GIB, 12),
        (32768, 60 * GIB, 244 * GIB, 3),
    ],
)
def test_trap_23_the_table_has_fargate_s_bounds_and_steps(cpu: int, low: int, high: int, count: int) -> None:
    memories = MEMORY_BY_CPU[cpu]
    assert (memories[0], memories[-1], len(memories)) == (low, high, count)
    assert all(size_mistake("size", cpu, memory) is None for memory in memories)


@pytest.mark.parametrize(("cpu", "memory"), [(8192, 17 * GIB), (16384, 36 * GIB), (32768, 64 * GIB), (256, 3 * GIB)])
def test_trap_23_a_pair_between_the_steps_is_an_error(cpu: int, memory: int) -> None:
    with pytest.raises(ArgumentError, match=f"with cpu {cpu}, memory is "):
        Size(cpu, memory)


def test_an_error_names_the_nearest_sizes() -> None:
    mistake = size_mistake("apiCpu, apiMemory", 1000, 2048)
    assert mistake is not None
    assert "cpu is one of 256, 512, 1024," in mistake.allowed
    assert mistake.remedy == "nearest: cpu 1024 with memory 2048"


@given(st.integers(-1, 40_000), st.integers(-1, 300_000))
def test_whatever_is_asked_for_the_nearest_sizes_exist(cpu: int, memory: int) -> None:
    mistake = size_mistake("size", cpu, memory)
    if mistake is None:
        assert memory in MEMORY_BY_CPU[cpu]
        return
    for pair in mistake.remedy.removeprefix("nearest: ").split(" or "):
        words = pair.split()
        assert int(words[4]) in MEMORY_BY_CPU[int(words[1])]
