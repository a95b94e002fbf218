"""What a refresh does to a resource's inputs and state, as pulumi-terraform-bridge does it.

Its `Read` answers with the state that the cloud has, and with the inputs that there were, each value taken from that
state (`pkg/tfbridge/schema.go`, `ExtractInputsFromOutputs`): an input that the state lacks goes, and a write-only value,
which no state ever holds, becomes null in both (https://github.com/pulumi/pulumi-terraform-bridge/issues/3201).
"""

from __future__ import annotations

import re

from local.providers.kind import Properties
from local.providers.values import Plain

# Terraform's `_wo` suffix; `hasValueWo` and the like are outputs that say whether there is one.
_WRITE_ONLY = re.compile(r"(?!has[A-Z]).+Wo")


def is_write_only(key: str) -> bool:
    """Whether a property is sent to AWS and kept nowhere."""
    return _WRITE_ONLY.fullmatch(key) is not None


def without_write_only(state: Properties) -> Properties:
    """The state as the engine gets it: write-only values are null."""
    return {key: None if is_write_only(key) else value for key, value in state.items()}


def inputs_from(state: Properties, inputs: Properties) -> Properties:
    """The inputs after a refresh that has found `state`."""
    return {key: _value(value, state[key]) for key, value in inputs.items() if key in state}


def _value(old: Plain, new: Plain) -> Plain:
    if isinstance(old, dict) and isinstance(new, dict):
        return inputs_from(new, old)
    if isinstance(old, list) and isinstance(new, list):
        return [_value(before, after) for before, after in zip(old, new, strict=False)]
    return new
