"""`aws.ecs.Service`: creates and updates as the provider does, deployments as ECS does.

The rules are those of hashicorp/terraform-provider-aws, `internal/service/ecs/service.go`: an update sends what has changed
and nothing else, it waits for the deployment, and a deployment that was rolled back is an error. Terraform's state, and the
engine's after it, then hold what was asked for, not what runs.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html: a failed deployment goes back to
the last one that was completed; where there is none, nothing more is started.
"""

from __future__ import annotations

from typing import Any

from local.providers.aws.ecs.record import Record, fault_of, new_deployment, now, records
from local.providers.aws.place import Place
from local.providers.kind import AutoName, Created, NotReady, Properties, ResourceKind

# What a service revision holds, and a rollback therefore takes back.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-revision.html
REVISION = frozenset(
    {
        "capacityProviderStrategies",
        "launchType",
        "loadBalancers",
        "networkConfiguration",
        "platformVersion",
        "serviceConnectConfiguration",
        "serviceRegistries",
        "taskDefinition",
        "volumeConfiguration",
        "vpcLatticeConfigurations",
    }
)
# How the provider goes about it: no part of the service.
_HOW = frozenset(
    {"forceDelete", "forceNewDeployment", "region", "sigintRollback", "tags", "triggers", "waitForSteadyState"}
)
_TIMEOUT = "timeout while waiting for state to become 'tfSTABLE' (last state: 'tfPENDING')"


class Service(ResourceKind):
    """A service, whose record says what runs."""

    auto_name = AutoName(longest=255)
    replaces = frozenset({"name", "cluster", "iamRole", "launchType", "schedulingStrategy"})
    computed = frozenset({"arn", "region", "tagsAll"})

    def __init__(self, place: Place) -> None:
        self._place = place

    def ignored(self, old: Properties, inputs: Properties) -> frozenset[str]:
        force = inputs.get("forceNewDeployment") is True
        if not force and _differs("capacityProviderStrategies", old, inputs):
            raise ValueError("force_new_deployment should be true when capacity_provider_strategy is being updated")
        return frozenset() if force and inputs.get("triggers") else frozenset({"triggers"})

    def planned(self, old: Properties, inputs: Properties) -> Properties:
        return self._place.planned(inputs)

    def create(self, name: str, inputs: Properties) -> Created:
        cluster = str(inputs.get("cluster") or "default").rpartition("/")[2]
        arn = self._place.arn("ecs", f"service/{cluster}/{inputs['name']}")
        created = Created(arn, {"arn": arn} | self._place.planned(inputs))
        with records() as services:
            if arn in services:
                # What AWS says: InvalidParameterException: Creation of service was not idempotent.
                raise ValueError(f"{arn!r} exists already: choose another name")
            record = {"definition": _definition(inputs), "deployments": [], "events": [], "createdAt": now()}
            services[arn] = record
            problem = _deploy(record, None)
        if problem and inputs.get("waitForSteadyState"):
            raise NotReady(created, f"waiting for ECS Service ({arn}) create: {problem}")
        return created

    def update(self, resource_id: str, old: Properties, inputs: Properties) -> Properties:
        changed = {key for key in old.keys() | inputs.keys() if old.get(key) != inputs.get(key)}
        changed -= self.computed | self.ignored(old, inputs) | {"forceDelete", "tags"}
        problem = None
        if changed:
            with records() as services:
                if resource_id not in services:
                    raise ValueError(f"updating ECS Service ({resource_id}): ServiceNotFoundException")
                record = services[resource_id]
                before = dict(record["definition"])
                for key in changed - _HOW:
                    record["definition"].pop(key, None)
                    if inputs.get(key) is not None:
                        record["definition"][key] = inputs[key]
                problem = (
                    _deploy(record, before)
                    if changed & REVISION or inputs.get("forceNewDeployment")
                    else _in_place(record)
                )
        if problem and inputs.get("waitForSteadyState"):
            made = Created(resource_id, self._place.planned(inputs))
            raise NotReady(made, f"waiting for ECS Service ({resource_id}) update: {problem}")
        return self._place.planned(inputs)

    def delete(self, resource_id: str, state: Properties) -> None:
        with records() as services:
            services.pop(resource_id, None)

    def read(self, resource_id: str, state: Properties) -> Properties | None:
        with records() as services:
            record = services.get(resource_id)
        if record is None:
            return None
        definition = record["definition"]
        kept = {key: value for key, value in state.items() if key not in REVISION or key in definition}
        return kept | {key: value for key, value in definition.items() if key in REVISION or key in state}


def undo_creation(inputs: Properties) -> None:
    """Takes away what an interrupted engine may have created with these inputs."""
    with records() as services:
        for arn, record in list(services.items()):
            if all(record["definition"].get(key) == inputs.get(key) for key in ("name", "cluster")):
                del services[arn]


def _differs(key: str, old: Properties, inputs: Properties) -> bool:
    # A set, as most lists of the provider's schema are.
    before, after = old.get(key) or [], inputs.get(key) or []
    if not isinstance(before, list) or not isinstance(after, list):
        return True
    return sorted(map(_shown, before)) != sorted(map(_shown, after))


def _shown(strategy: Any) -> str:
    return repr(sorted(strategy.items()) if isinstance(strategy, dict) else strategy)


def _definition(inputs: Properties) -> Properties:
    return {key: value for key, value in inputs.items() if key not in _HOW and value is not None}


def _deploy(record: Record, before: Properties | None) -> str | None:
    """Rolls out what the record's definition says; `before` is what it said. Returns what went wrong, or None."""
    definition = record["definition"]
    desired = int(definition.get("desiredCount", 0))
    reason = fault_of(str(definition["name"])) if desired else None
    if reason is None:
        record["deployments"] = [new_deployment(definition, running=desired)]
        record["runningCount"] = desired
        _event(record, "has reached a steady state.")
        return None
    failed = new_deployment(definition, running=0)
    _event(record, f"(deployment {failed['id']}) deployment failed: {reason}.")
    breaker = definition.get("deploymentCircuitBreaker") or {}
    if breaker.get("enable") and breaker.get("rollback") and before and record["deployments"][0]["completed"]:
        record["definition"] = {key: value for key, value in definition.items() if key not in REVISION} | {
            key: value for key, value in before.items() if key in REVISION
        }
        record["deployments"] = [new_deployment(record["definition"], running=desired)]
        record["runningCount"] = desired
        _event(record, f"rolling back to deployment {record['deployments'][0]['id']}.")
        return f"ECS deployment circuit breaker: {reason}. Service deployment rolled back"
    # Older tasks go on running; nothing more is started.
    older = [deployment | {"status": "ACTIVE"} for deployment in record["deployments"] if deployment["runningCount"]]
    record["deployments"] = [failed, *older]
    record["runningCount"] = sum(deployment["runningCount"] for deployment in older)
    return f"ECS deployment circuit breaker: {reason}" if breaker.get("enable") else _TIMEOUT


def _in_place(record: Record) -> str | None:
    """Takes over what needs no new deployment; steady when there is one deployment with all its tasks."""
    desired = int(record["definition"].get("desiredCount", 0))
    primary = record["deployments"][0]
    primary["desiredCount"], primary["updatedAt"] = desired, now()
    if len(record["deployments"]) > 1 or (desired and not primary["completed"]):
        return _TIMEOUT
    primary["runningCount"] = record["runningCount"] = desired
    return None


def _event(record: Record, words: str) -> None:
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages-list.html
    message = f"(service {record['definition']['name']}) {words}"
    record["events"].insert(0, {"id": f"{len(record['events']):032x}", "createdAt": now(), "message": message})
