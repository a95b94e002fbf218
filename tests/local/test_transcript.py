from __future__ import annotations

from local.transcript import Transcript


def shown(*lines: str, most: int | None = None) -> list[str]:
    written: list[str] = []
    transcript = Transcript(written.append, most)
    for line in lines:
        transcript.line(line)
    return written


def test_what_only_begins_is_left_out() -> None:
    assert shown(
        " +  aws:sqs:Queue inbox creating (0s)",
        " +  aws:sqs:Queue inbox created (0.5s)",
        " ++ aws:ecs:TaskDefinition worker creating replacement (0s) [diff: ~cpu]",
        " ++ aws:ecs:TaskDefinition worker created replacement (0.01s) [diff: ~cpu]",
    ) == [
        " +  aws:sqs:Queue inbox created (0.5s)",
        " ++ aws:ecs:TaskDefinition worker created replacement (0.01s) [diff: ~cpu]",
    ]


def test_beyond_the_most_only_the_number_is_told() -> None:
    lines = [f" +  aws:sqs:Queue q{n} created (0.5s)" for n in range(5)]
    assert shown(*lines, "Outputs:", most=2) == [*lines[:2], "    … and 3 more", "Outputs:"]


def test_an_error_of_the_program_is_told_once() -> None:
    assert shown(
        "Diagnostics:",
        "  pulumi:pulumi:Stack (s):",
        "    error: two mistakes",
        "      a: 1",
        "    error: an unhandled error occurred: two mistakes",
        "      a: 1",
        "",
        "Resources:",
    ) == ["Diagnostics:", "  pulumi:pulumi:Stack (s):", "    error: two mistakes", "      a: 1", "", "Resources:"]


def test_blank_lines_do_not_pile_up() -> None:
    assert shown("", "a", "", "", "b") == ["a", "", "b"]
