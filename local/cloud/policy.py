"""IAM policy evaluation for one request.

The logic is AWS's for identity and resource policies within one account: an explicit deny wins, then any allow, else the
request is refused (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html). What this
evaluator does not know (an operator, a principal form) never widens a permission: an Allow that it can't judge does not
match, a Deny that it can't judge does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any


class Decision(Enum):
    ALLOWED = "allowed"
    DENIED = "explicitly denied"
    NEUTRAL = "no statement allows it"


@dataclass(frozen=True)
class Access:
    """One permission a request needs: `action` such as `s3:GetObject`, `resource` an ARN or `*`."""

    action: str
    resource: str


class _Unknown(Exception):
    pass


def evaluate(policies: Sequence[Mapping[str, Any]], access: Access, context: Mapping[str, str]) -> Decision:
    """What policy documents say about an access. `context` maps condition keys (any case) to their values."""
    keys = {key.lower(): value for key, value in context.items()}
    decision = Decision.NEUTRAL
    for policy in policies:
        for statement in _listed(policy.get("Statement", [])):
            effect = statement.get("Effect")
            try:
                applies = _applies(statement, access, keys)
            except _Unknown:
                applies = effect == "Deny"
            if applies and effect == "Deny":
                return Decision.DENIED
            if applies and effect == "Allow":
                decision = Decision.ALLOWED
    return decision


def _applies(statement: Mapping[str, Any], access: Access, keys: Mapping[str, str]) -> bool:
    if "Action" in statement:
        if not _any_match(statement["Action"], access.action, ignore_case=True):
            return False
    elif _any_match(statement.get("NotAction", "*"), access.action, ignore_case=True):
        return False
    if "Resource" in statement:
        if not _any_match(statement["Resource"], access.resource):
            return False
    elif "NotResource" in statement and _any_match(statement["NotResource"], access.resource):
        return False
    return all(
        _condition_holds(operator, key, _listed(expected), keys)
        for operator, block in statement.get("Condition", {}).items()
        for key, expected in block.items()
    )


def _condition_holds(operator: str, key: str, expected: Sequence[Any], keys: Mapping[str, str]) -> bool:
    actual = keys.get(key.lower())
    name = operator
    if name == "Null":
        return (actual is None) == (str(expected[0]).lower() == "true")
    if name.endswith("IfExists"):
        if actual is None:
            return True
        name = name.removesuffix("IfExists")
    negated = name.startswith(("StringNot", "ArnNot"))
    if actual is None:
        return negated
    wanted = [str(value) for value in expected]
    match name:
        case "StringEquals" | "StringNotEquals":
            holds = actual in wanted
        case "StringEqualsIgnoreCase" | "StringNotEqualsIgnoreCase" | "Bool":
            holds = actual.lower() in [value.lower() for value in wanted]
        case "StringLike" | "StringNotLike" | "ArnLike" | "ArnNotLike" | "ArnEquals" | "ArnNotEquals":
            holds = any(_pattern(value, False).fullmatch(actual) is not None for value in wanted)
        case _:
            raise _Unknown(operator)
    return holds != negated


def _any_match(patterns: Any, value: str, *, ignore_case: bool = False) -> bool:
    return any(_pattern(str(pattern), ignore_case).fullmatch(value) is not None for pattern in _listed(patterns))


@lru_cache(maxsize=4096)
def _pattern(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    source = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.compile(source, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
