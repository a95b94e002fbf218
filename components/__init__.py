"""Reusable components of an ECS stack, and what reads and checks the configuration of a stack of them."""

from __future__ import annotations

from components.api_service import ApiService
from components.backlog import BacklogScaling
from components.bucket import Bucket
from components.cluster import Cluster
from components.component import Component
from components.configuration import ConfigurationError, configuration_schema, key, load_settings
from components.ending import mistakes_told_once
from components.errors import ArgumentError, Mistake
from components.fargate import Size
from components.iam import Statement
from components.image import Image
from components.load_balancer import Https, LoadBalancer
from components.network import Network
from components.overrides import Overrides
from components.queue import Queue
from components.scaling import Scaling
from components.scheduled_task import ScheduledTask
from components.secret_parameter import SecretParameter
from components.task import HealthCheck, Task
from components.task_definition import TaskDefinition
from components.task_network import TaskNetwork
from components.uses import Mount, Reach, Use
from components.volume import EfsVolume
from components.worker_service import WorkerService

__all__ = [
    "ApiService",
    "ArgumentError",
    "BacklogScaling",
    "Bucket",
    "Cluster",
    "Component",
    "ConfigurationError",
    "EfsVolume",
    "HealthCheck",
    "Https",
    "Image",
    "LoadBalancer",
    "Mistake",
    "Mount",
    "Network",
    "Overrides",
    "Queue",
    "Reach",
    "Scaling",
    "ScheduledTask",
    "SecretParameter",
    "Size",
    "Statement",
    "Task",
    "TaskDefinition",
    "TaskNetwork",
    "Use",
    "WorkerService",
    "configuration_schema",
    "key",
    "load_settings",
    "mistakes_told_once",
]
