"""The sizes of task that Fargate has."""

from __future__ import annotations

import math
from dataclasses import dataclass

from components.arguments import check_fields
from components.errors import ArgumentError, Mistake

_GIB = 1024


def _steps(low: int, high: int, step: int) -> tuple[int, ...]:
    return tuple(range(low * _GIB, high * _GIB + 1, step * _GIB))


MEMORY_BY_CPU: dict[int, tuple[int, ...]] = {
    256: (512, 1024, 2048),
    512: _steps(1, 4, 1),
    1024: _steps(2, 8, 1),
    2048: _steps(4, 16, 1),
    4096: _steps(8, 30, 1),
    8192: _steps(16, 60, 4),
    16384: _steps(32, 120, 8),
    32768: (60 * _GIB, 120 * _GIB, 244 * _GIB),
}
"""Memory (MiB) that goes with each CPU (1,024 units a vCPU), for Linux.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html"""


@dataclass(frozen=True)
class Size:
    """A task's `cpu` (1,024 units a vCPU) and `memory` (MiB). Raises ArgumentError for a pair that Fargate has not."""

    cpu: int
    memory: int

    def __post_init__(self) -> None:
        check_fields(self)
        mistake = size_mistake("cpu, memory", self.cpu, self.memory)
        if mistake is not None:
            raise ArgumentError("Size", mistake)


def size_mistake(name: str, cpu: int, memory: int) -> Mistake | None:
    """What is wrong with the pair, told under the name of the arguments; None for a pair that Fargate has."""
    memories = MEMORY_BY_CPU.get(cpu)
    if memories is not None and memory in memories:
        return None
    if memories is None:
        allowed = f"cpu is one of {', '.join(map(str, MEMORY_BY_CPU))}"
    else:
        allowed = f"with cpu {cpu}, memory is {_ranges(memories)}"
    nearest = " or ".join(
        f"cpu {near_cpu} with memory {near_memory}" for near_cpu, near_memory in _nearest(cpu, memory)
    )
    return Mistake(name=name, value=f"cpu {cpu} with memory {memory}", allowed=allowed, remedy=f"nearest: {nearest}")


def _nearest(cpu: int, memory: int) -> list[tuple[int, int]]:
    """The nearest size with this memory or this CPU, whichever there are."""

    def distance(pair: tuple[int, int]) -> float:
        # Sizes double: how many times one is the other says how far they are apart. What is no size counts as tiny.
        return abs(math.log(pair[0] / max(cpu, 1))) + abs(math.log(pair[1] / max(memory, 1)))

    pairs = [(valid, amount) for valid, amounts in MEMORY_BY_CPU.items() for amount in amounts]
    same_cpu = min((pair for pair in pairs if pair[0] == cpu), key=distance, default=None)
    other = min((pair for pair in pairs if pair[0] != cpu), key=distance)
    return [same_cpu, other] if same_cpu else [other]


def _ranges(memories: tuple[int, ...]) -> str:
    if len(memories) <= 3:
        return " or ".join(map(str, memories))
    return f"{memories[0]} to {memories[-1]} in steps of {memories[1] - memories[0]}"
