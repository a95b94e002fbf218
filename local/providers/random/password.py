"""`RandomPassword`, with the rules of hashicorp/terraform-provider-random, `internal/provider/resource_password.go`."""

from __future__ import annotations

import hashlib
import secrets
import string
from collections.abc import Sequence

from local.providers.kind import Created, Properties, ResourceKind
from local.providers.values import UNKNOWN, Plain

_SPECIAL = "!@#$%&*()-_=+[]{}<>:?"
_SWITCHES = ("lower", "numeric", "special", "upper")
_MINIMA = ("minLower", "minNumeric", "minSpecial", "minUpper")
# The alphabet of a bcrypt hash.
_BCRYPT = string.ascii_letters + string.digits + "./"


class Password(ResourceKind):
    """Made once, and kept until one of its inputs changes: all of them replace it.

    `bcryptHash` has the shape of one, cost 10, and verifies nothing: this machine has no bcrypt.
    """

    replaces = frozenset({"keepers", "length", "overrideSpecial", "number", *_SWITCHES, *_MINIMA})
    computed = frozenset({"bcryptHash", "number", "result", *_SWITCHES, *_MINIMA})
    secret = frozenset({"bcryptHash", "result"})

    def mistakes(self, inputs: Properties) -> Sequence[str]:
        length = inputs.get("length", UNKNOWN)
        needed = [inputs.get(name, 0) for name in _MINIMA]
        if length is UNKNOWN or UNKNOWN in needed:
            return ()
        found = []
        if length < max(1, sum(needed)):
            found.append(f"length: {length} is too short: it must be at least 1, and the sum of {', '.join(_MINIMA)}")
        if not any(_switch(inputs, name) for name in _SWITCHES):
            found.append(f"one of {', '.join(_SWITCHES)} must be true")
        return found

    def planned(self, old: Properties, inputs: Properties) -> Properties:
        made = dict.fromkeys(_MINIMA, 0) | {name: _switch(inputs, name) for name in _SWITCHES}
        made["number"] = made["numeric"]
        return {key: value for key, value in made.items() if key not in inputs}

    def create(self, name: str, inputs: Properties) -> Created:
        result = _password(inputs)
        made = {"result": result, "bcryptHash": _hash_shape(result)}
        return Created("none", self.planned({}, inputs) | made)

    def update(self, resource_id: str, old: Properties, inputs: Properties) -> Properties:
        return {}

    def delete(self, resource_id: str, state: Properties) -> None:
        """The engine's state is all there is of it."""


def _switch(inputs: Properties, name: str) -> Plain:
    # `number` is the old name of `numeric`.
    return inputs.get(name, inputs.get("number", True) if name == "numeric" else True)


def _password(inputs: Properties) -> str:
    sets = {
        "lower": string.ascii_lowercase,
        "numeric": string.digits,
        "special": inputs.get("overrideSpecial") or _SPECIAL,
        "upper": string.ascii_uppercase,
    }
    allowed = "".join(letters for name, letters in sets.items() if _switch(inputs, name))
    letters = [
        secrets.choice(sets[name])
        for name, minimum in zip(_SWITCHES, _MINIMA, strict=True)
        for _ in range(inputs.get(minimum, 0))
    ]
    letters += [secrets.choice(allowed) for _ in range(inputs["length"] - len(letters))]
    secrets.SystemRandom().shuffle(letters)
    return "".join(letters)


def _hash_shape(password: str) -> str:
    digest = hashlib.sha512(secrets.token_bytes(16) + password.encode()).digest()
    return "$2a$10$" + "".join(_BCRYPT[byte % 64] for byte in digest[:53])
