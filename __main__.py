"""The stack: files on EFS behind a load balancer, messages from a queue into a bucket, and a sweep on a schedule."""

from __future__ import annotations

import pulumi

from components import (
    ApiService,
    BacklogScaling,
    Bucket,
    Cluster,
    EfsVolume,
    HealthCheck,
    Image,
    Network,
    Queue,
    Scaling,
    ScheduledTask,
    SecretParameter,
    Size,
    WorkerService,
    mistakes_told_once,
)
from settings import Settings

with mistakes_told_once():
    settings = Settings.load()

    network = Network(
        "network",
        vpc=settings.vpc,
        cidr_block=settings.vpc_cidr,
        availability_zones=settings.availability_zones,
        nat_gateways=settings.nat_gateways,
    )
    cluster = Cluster(
        "cluster",
        network=network,
        log_retention_days=settings.log_retention_days,
        retain_logs=settings.production,
    )
    image = Image(
        "service",
        context="service",
        platform=settings.image_platform,
        build_args={"BASE_IMAGE": settings.image_base, "EXTRAS": settings.image_extras},
        protected=settings.production,
    )

    # The image's own check needs no shell and no curl in it.
    health_check = HealthCheck(command=["CMD", "python", "-m", "service", "check"])

    files = EfsVolume("files", network=network, protected=settings.production)
    inbox = Queue("inbox", visibility_timeout_seconds=60, protected=settings.production)
    emails = Bucket("emails", protected=settings.production)
    token = SecretParameter("api-token", value=settings.token, protected=settings.production)

    api = ApiService(
        "api",
        enabled=settings.api_enabled,
        cluster=cluster,
        image=image,
        command=["api"],
        size=settings.api_size,
        health_path="/healthcheck",
        health_check=health_check,
        https=settings.https,
        uses=[files.mounted_at("/mnt/efs"), inbox.sending(), token.reading()],
        environment={
            "FILES_AUTH": settings.files_auth,
            "FILES_MAX_BYTES": str(settings.files_max_bytes),
            **settings.tracing,
        },
        scaling=Scaling(
            min=settings.api_min_tasks,
            max=settings.api_max_tasks,
            cpu_target=settings.api_cpu_target,
            requests_per_task=settings.api_requests_per_task,
        ),
    )
    worker = WorkerService(
        "worker",
        cluster=cluster,
        image=image,
        command=["worker"],
        size=settings.worker_size,
        health_check=health_check,
        uses=[inbox.consuming(), emails.writing("emails/")],
        environment={"VISIBILITY_TIMEOUT_SECONDS": str(inbox.visibility_timeout_seconds), **settings.tracing},
        spot_percent=settings.worker_spot_percent,
        scaling=BacklogScaling(
            queue=inbox,
            min=settings.worker_min_tasks,
            max=settings.worker_max_tasks,
            latency_seconds=settings.worker_latency_seconds,
            message_seconds=settings.worker_message_seconds,
        ),
    )
    sweep = ScheduledTask(
        "sweep",
        cluster=cluster,
        image=image,
        command=["sweep"],
        size=Size(cpu=256, memory=512),
        uses=[files.mounted_at("/mnt/efs")],
        schedule=settings.sweep_schedule,
        timezone=settings.sweep_timezone,
        enabled=settings.sweep_enabled,
    )

    pulumi.export("url", api.url)
    pulumi.export("tokenParameter", token.parameter_name)
    pulumi.export("bucket", emails.bucket_name)
    pulumi.export("queueUrl", inbox.url)
    pulumi.export("deadLetterQueueUrl", inbox.dead_letter_url)
    pulumi.export("fileSystemId", files.file_system_id)
    pulumi.export("clusterName", cluster.cluster_name)
    pulumi.export("imageDigest", image.reference)
    pulumi.export("workerService", worker.service_name)
    pulumi.export("sweepDeadLetterQueueUrl", sweep.dead_letter_url)
