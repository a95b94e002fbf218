"""Plays ECS on one machine: tasks as processes, services that keep their count and roll, a load balancer, schedules."""

from __future__ import annotations

from local.runner.ports import Cloud, Credentials, ImageStore, LocalImage, RunnerError
from local.runner.rollout import Failure, Rollout, ServiceStatus
from local.runner.runner import Runner

__all__ = [
    "Cloud",
    "Credentials",
    "Failure",
    "ImageStore",
    "LocalImage",
    "Rollout",
    "Runner",
    "RunnerError",
    "ServiceStatus",
]
