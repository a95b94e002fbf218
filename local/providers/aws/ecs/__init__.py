"""ECS as the provider sees it: services whose deployments may fail, and what really runs of them."""

from local.providers.aws.ecs.lookup import FUNCTIONS
from local.providers.aws.ecs.scaling import ScalableTarget
from local.providers.aws.ecs.service import Service, undo_creation

__all__ = ["FUNCTIONS", "ScalableTarget", "Service", "undo_creation"]
