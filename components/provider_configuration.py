"""The part of a stack's configuration that Pulumi and the providers read: a misspelt key there is ignored in silence."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Collection, Iterator, Mapping

import pulumi_aws as aws

from components.errors import Mistake, did_you_mean

NOT_SHOWN = "(not shown: it may be a secret)"


def namespace_mistakes(project: str, names: Collection[str]) -> Iterator[Mistake]:
    """The mistakes among full names of keys (`aws:region`): a namespace that nothing reads, a key that the provider
    does not have. The project's own keys are left alone.

    Namespaces are the project's, Pulumi's and those of the providers whose packages are installed.
    """
    providers = _providers()
    namespaces = {project, "pulumi", *providers}
    for name in sorted(names):
        namespace, _, key = name.partition(":")
        if namespace not in namespaces:
            near = did_you_mean(namespace, namespaces).replace("?", f":{key}?")
            yield _unread(name, f"a key of {', '.join(sorted(namespaces))}, or one that Pulumi.yaml describes", near)
        elif namespace in providers:
            own = _provider_keys(namespace)
            if own and key not in own:
                full = [f"{namespace}:{known}" for known in own]
                yield _unread(name, f"a key that the provider {namespace} has", did_you_mean(name, full))


def region_mistakes(values: Mapping[str, str]) -> Iterator[Mistake]:
    """The mistake of a region that is missing or unknown, from all values by their full names.

    The provider itself asks the environment and the profile of whoever runs it for a missing one, and takes any word
    for a region (its `skipRegionValidation` is true by default). `aws:skipRegionValidation: true`, written down, admits
    a region that is newer than the provider.
    """
    region = values.get("aws:region", "")
    if not region:
        yield Mistake(
            name="aws:region",
            value="(missing)",
            allowed="a region that is written down: else the stack is where AWS_REGION or the profile of whoever runs it says",
            remedy="pulumi config set aws:region <region>",
        )
    elif values.get("aws:skipRegionValidation") != "true":
        regions = [item.value for item in aws.Region]
        if region not in regions:
            yield Mistake(
                name="aws:region",
                value=region,
                allowed="a region that the provider knows",
                remedy=f"{did_you_mean(region, regions)} "
                "(pulumi config set aws:skipRegionValidation true allows one that is newer than the provider)",
            )


def _unread(name: str, allowed: str, guess: str) -> Mistake:
    return Mistake(name=name, value=NOT_SHOWN, allowed=allowed, remedy=f"{guess} (pulumi config rm {name} removes it)")


def _providers() -> set[str]:
    found = (module.name for module in pkgutil.iter_modules())
    return {name.removeprefix("pulumi_").replace("_", "-") for name in found if name.startswith("pulumi_")}


def _provider_keys(provider: str) -> set[str]:
    """The keys that the provider's SDK has for its configuration; empty when it says nothing."""
    package = f"pulumi_{provider.replace('-', '_')}"
    if importlib.util.find_spec(f"{package}.config") is None:
        return set()
    module = importlib.import_module(f"{package}.config")
    # The module is loaded when it is first asked for something, and becomes an instance of a class with a property a key.
    # An SDK that is made otherwise says nothing.
    if not hasattr(module, "vars"):
        return set()
    fields = inspect.getmembers(type(module), lambda member: isinstance(member, property))
    return {re.sub(r"_(.)", lambda match: match[1].upper(), name) for name, _ in fields}
