"""A program of somebody else's with an image of somebody else's: planned, deployed and answering on one machine."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest

from local.deployment import Deployed, deploy, engine_turn
from local.images import Images
from local.runner import Runner

PROGRAM = """
from components import ApiService, Cluster, Image, Network, Scaling, Size
network = Network("network", vpc="default", availability_zones=2)
cluster = Cluster("cluster", network=network, log_retention_days=30, retain_logs=False)
image = Image("nginx", context={context!r}, protected=False)
ApiService(
    "web", cluster=cluster, image=image, size=Size(256, 512), scaling=Scaling(min=1, max=2), port=80,
    health_path="/", user="0:0", keep_capabilities=["CHOWN", "NET_BIND_SERVICE", "SETGID", "SETUID"],
    scratch={{"/var/cache/nginx": 64, "/run": 1}},
)
""".strip()

DOCKERFILE = """
FROM nginx:1.29
COPY index.html /usr/share/nginx/html/
ENTRYPOINT ["nginx", "-g", "daemon off;"]
"""

# Takes nginx's place on this machine, which has none: whatever answers on the port will do.
NGINX = f"""#!{sys.executable}
import http.server, os
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(os.environ["PORT"]), bind="127.0.0.1")
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "project"
    (root / "site").mkdir(parents=True)
    (root / "Pulumi.yaml").write_text("name: web\nruntime: python\n")
    (root / "Pulumi.local.yaml").write_text("config:\n  aws:region: us-east-1\n")
    (root / "__main__.py").write_text(PROGRAM.format(context=str(root / "site")))
    (root / "site" / "Dockerfile").write_text(DOCKERFILE)
    (root / "site" / "index.html").write_text("<h1>it works</h1>")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "nginx").write_text(NGINX)
    (programs / "nginx").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    return root


def test_nginx_deploys_from_a_program_of_ten_lines_and_answers_through_the_load_balancer(
    place: Any, project: Path
) -> None:
    assert len(PROGRAM.splitlines()) <= 10
    engine = dataclasses.replace(place.engine, root=project)
    planned = Counter(step["type"] for step in engine.plan("local") if step["op"] == "create")
    with engine_turn(place.paths, print):
        deployed = deploy(engine)
    created = Counter(str(resource["type"]) for resource in deployed.resources)
    assert {kind: count for kind, count in planned.items() if created[kind] != count} == {}
    assert created["aws:ecs/service:Service"] == created["aws:lb/loadBalancer:LoadBalancer"] == 1
    assert asyncio.run(_answer(place, deployed)) == "<h1>it works</h1>"


async def _answer(place: Any, deployed: Deployed) -> str:
    images = Images(place.paths.images)
    runner = Runner(aws=place.cloud, images=images, folder=place.paths.folder, port=0, report=print)
    await runner.start()
    try:
        rollout = await runner.apply(deployed.resources)
        assert rollout.ok, str(rollout)
        async with httpx2.AsyncClient() as client:
            answer = await client.get(f"http://127.0.0.1:{runner.port}/usr/share/nginx/html/index.html")
        assert answer.status_code == 200
        return answer.text
    finally:
        await runner.stop()
