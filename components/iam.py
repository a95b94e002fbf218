"""IAM documents, as values: statements that name exact actions on exact resources, and the policies made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import pulumi

from components.arguments import Matching, Valid, check_fields
from components.place import Place

_VERSION = "2012-10-17"

Conditions = Mapping[str, Mapping[str, pulumi.Input[str] | Sequence[pulumi.Input[str]]]]
"""Condition operators, as in a policy document: `{"StringEquals": {"aws:SourceAccount": account}}`."""


Action = Annotated[
    str,
    Matching(
        r"[a-z0-9-]+:(?=.*[A-Za-z])[A-Za-z0-9*?]+", "a service and one of its actions", "write it as 's3:GetObject'"
    ),
]

_AT_LEAST_ONE = Valid(lambda items: None if items else "at least one", "say which, or leave the statement out")


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One permission: all `actions` on all `resources` (ARNs) while the `conditions` hold. Raises ArgumentError."""

    actions: Annotated[tuple[Action, ...], _AT_LEAST_ONE]
    resources: Annotated[
        tuple[Annotated[pulumi.Input[str], Matching(r"\*|arn:.*", "an ARN or *", "give the resource's arn")], ...],
        _AT_LEAST_ONE,
    ]
    conditions: Conditions = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)

    def document(self) -> dict[str, Any]:
        """The statement as it stands in a policy document."""
        statement: dict[str, Any] = {
            "Effect": "Allow",
            "Action": sorted(self.actions),
            "Resource": list(self.resources),
        }
        if self.conditions:
            statement["Condition"] = {operator: dict(keys) for operator, keys in sorted(self.conditions.items())}
        return statement


def policy(statements: Iterable[Statement]) -> pulumi.Output[str]:
    """A policy document (JSON) of the statements, in their order."""
    return document(statement.document() for statement in statements)


def document(statements: Iterable[Mapping[str, Any]]) -> pulumi.Output[str]:
    """A policy document (JSON) of statements given as AWS spells them, for policies on resources."""
    return pulumi.Output.json_dumps({"Version": _VERSION, "Statement": [dict(statement) for statement in statements]})


def trust(service: str, place: Place, *, source_arn: pulumi.Input[str] | None = None) -> pulumi.Output[str]:
    """A trust policy by which only `service`, acting for this account (and `source_arn`), may assume the role.

    Without the condition another account could make the service use the role on its behalf:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
    """
    conditions: dict[str, dict[str, pulumi.Input[str]]] = {"StringEquals": {"aws:SourceAccount": place.account}}
    if source_arn is not None:
        conditions["ArnLike"] = {"aws:SourceArn": source_arn}
    return document(
        [
            {
                "Effect": "Allow",
                "Principal": {"Service": service},
                "Action": "sts:AssumeRole",
                "Condition": conditions,
            }
        ]
    )
