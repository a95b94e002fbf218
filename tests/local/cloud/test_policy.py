from __future__ import annotations

from typing import Any

import pytest

from local.cloud.policy import Access, Decision, evaluate

OBJECT = Access("s3:PutObject", "arn:aws:s3:::emails/emails/2026/01/31/a.json")


def statement(effect: str = "Allow", **parts: Any) -> dict[str, Any]:
    return {"Statement": [{"Effect": effect, "Action": "s3:PutObject", "Resource": "*"} | parts]}


def test_nothing_is_allowed_without_a_statement() -> None:
    assert evaluate([], OBJECT, {}) is Decision.NEUTRAL


def test_a_deny_wins_over_an_allow_in_another_policy() -> None:
    assert evaluate([statement(), statement("Deny")], OBJECT, {}) is Decision.DENIED


@pytest.mark.parametrize(
    "action", ["s3:PutObject", "s3:Put*", "s3:*", "S3:putobject", ["s3:GetObject", "s3:PutObject"]]
)
def test_actions_match_by_wildcard_and_in_any_case(action: Any) -> None:
    assert evaluate([statement(Action=action)], OBJECT, {}) is Decision.ALLOWED


@pytest.mark.parametrize("action", ["s3:GetObject", "sqs:*", "s3:PutObjectAcl"])
def test_other_actions_do_not_match(action: str) -> None:
    assert evaluate([statement(Action=action)], OBJECT, {}) is Decision.NEUTRAL


@pytest.mark.parametrize(
    ("resource", "decision"),
    [
        ("arn:aws:s3:::emails/emails/*", Decision.ALLOWED),
        ("arn:aws:s3:::emails", Decision.NEUTRAL),
        ("arn:aws:s3:::emails/other/*", Decision.NEUTRAL),
        # A dot is a dot: names that only look alike as regular expressions stay apart.
        ("arn:aws:s3:::emails/emails/2026/01/31/a?json", Decision.ALLOWED),
        ("arn:aws:s3:::emails/emails/2026.01.31/a.json", Decision.NEUTRAL),
        # Resources, unlike actions, are matched in their case.
        ("arn:aws:s3:::EMAILS/*", Decision.NEUTRAL),
    ],
)
def test_resources_match_exactly_or_by_wildcard(resource: str, decision: Decision) -> None:
    assert evaluate([statement(Resource=resource)], OBJECT, {}) is decision


def test_not_action_and_not_resource_turn_the_match_round() -> None:
    policy = {"Statement": {"Effect": "Allow", "NotAction": "iam:*", "NotResource": "arn:aws:s3:::secret/*"}}
    assert evaluate([policy], OBJECT, {}) is Decision.ALLOWED
    assert evaluate([policy], Access("iam:CreateRole", "*"), {}) is Decision.NEUTRAL
    assert evaluate([policy], Access("s3:PutObject", "arn:aws:s3:::secret/a"), {}) is Decision.NEUTRAL


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"StringEquals": {"aws:SourceAccount": "123456789012"}}, True),
        ({"StringEquals": {"AWS:sourceaccount": ["1", "123456789012"]}}, True),
        ({"StringEquals": {"aws:SourceAccount": "1"}}, False),
        ({"StringNotEquals": {"aws:SourceAccount": "1"}}, True),
        ({"StringLike": {"aws:SourceAccount": "1234*"}}, True),
        ({"Bool": {"aws:SecureTransport": "false"}}, False),
        ({"StringEquals": {"aws:Absent": "x"}}, False),
        ({"StringEqualsIfExists": {"aws:Absent": "x"}}, True),
        ({"Null": {"aws:Absent": "true"}}, True),
        ({"Null": {"aws:SourceAccount": "true"}}, False),
    ],
)
def test_conditions(condition: dict[str, Any], holds: bool) -> None:
    context = {"aws:SourceAccount": "123456789012", "aws:SecureTransport": "true"}
    decision = evaluate([statement(Condition=condition)], OBJECT, context)
    assert decision is (Decision.ALLOWED if holds else Decision.NEUTRAL)


def test_a_condition_that_cannot_be_judged_never_widens_a_permission() -> None:
    condition = {"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}
    context = {"aws:CurrentTime": "2026-01-01T00:00:00Z"}
    assert evaluate([statement(Condition=condition)], OBJECT, context) is Decision.NEUTRAL
    assert evaluate([statement("Deny", Condition=condition)], OBJECT, context) is Decision.DENIED
