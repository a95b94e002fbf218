"""Which of several forms of an answer a client would rather have, by its ``Accept`` field (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from service.http.fields import members

# Section 12.4.2.
_WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


def choose(accept: str | None, offers: Sequence[str]) -> str:
    """The one of ``offers``, media types without parameters, that weighs most in ``accept``; of equals the first.

    The first also where none is acceptable, or ``accept`` says nothing: to answer something is what section 12.4.1
    leaves a server that has not what was asked for. What can't be read in ``accept`` is passed over.
    """
    weights = dict(found for member in members(accept or "") if (found := _range(member)) is not None)
    return max(offers, key=lambda offer: _weight(offer, weights))


def _weight(offer: str, weights: dict[str, float]) -> float:
    kind = offer.partition("/")[0]
    # The most specific range counts, also where it weighs less than another.
    for name in (offer, f"{kind}/*", "*/*"):
        if name in weights:
            return weights[name]
    return 0.0


def _range(member: str) -> tuple[str, float] | None:
    """The name of a media range and its weight; None for one that no offer can match, and for what is none."""
    name, *parameters = (part.strip().lower() for part in member.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            return (name, float(value)) if _WEIGHT.fullmatch(value) else None
        if key != "charset" or value.strip('"') != "utf-8":
            return None
    return name, 1.0
