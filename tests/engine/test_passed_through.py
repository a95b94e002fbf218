"""Previews of programs that use more than the stand-ins know."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from local.engine import Engine, EngineFailed
from local.paths import LocalPaths

PROGRAM = """
import pulumi
import pulumi_aws as aws

database = aws.rds.Instance(
    "orders", instance_class="db.t4g.micro", engine="postgres", allocated_storage=20, username="orders",
    manage_master_user_password=True, skip_final_snapshot=True,
)
secret = aws.secretsmanager.Secret("dsn")
aws.secretsmanager.SecretVersion("dsn", secret_id=secret.id, secret_string=database.endpoint)
wall = aws.wafv2.WebAcl(
    "wall", scope="REGIONAL", default_action=aws.wafv2.WebAclDefaultActionArgs(allow={}),
    visibility_config=aws.wafv2.WebAclVisibilityConfigArgs(
        cloudwatch_metrics_enabled=True, metric_name="wall", sampled_requests_enabled=True),
)
space = aws.servicediscovery.PrivateDnsNamespace("space", vpc="vpc-1")
aws.servicediscovery.Service("one", dns_config=aws.servicediscovery.ServiceDnsConfigArgs(
    namespace_id=space.id, dns_records=[aws.servicediscovery.ServiceDnsConfigDnsRecordArgs(ttl=10, type="A")]))
aws.servicediscovery.Service("two")

class Pet(pulumi.CustomResource):
    words: pulumi.Output[str]

    def __init__(self, name, length):
        super().__init__(
            "random:index/randomPet:RandomPet", name, {"length": length, "words": None},
            opts=pulumi.ResourceOptions(version="4.999.0"),
        )

pet = Pet("pet", 2)
pulumi.CustomResource(
    "command:local:Command", "migrate", {"create": pulumi.Output.concat("psql ", database.endpoint)},
    opts=pulumi.ResourceOptions(version="1.999.0"),
)
aws.sqs.Queue("known")
pulumi.export("address", database.endpoint)
pulumi.export("words", pet.words)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, and SDKs of two packages that have no stand-in for what it uses."""
    for name, version in (("random", "4.999.0"), ("command", "1.999.0")):
        folder = tmp_path / "site" / f"pulumi_{name}"
        folder.mkdir(parents=True)
        described = {"resource": True, "name": name, "version": version}
        (folder / "pulumi-plugin.json").write_text(json.dumps(described))
    # At the end: the real SDKs, where they are installed, stay what they are.
    monkeypatch.setattr("sys.path", [*sys.path, str(tmp_path / "site")])
    root = tmp_path / "project"
    root.mkdir()
    (root / "Pulumi.yaml").write_text("name: other\nruntime: python\n")
    (root / "Pulumi.test.yaml").write_text("config:\n  aws:region: us-east-1\n")
    (root / "__main__.py").write_text(PROGRAM)
    return root


def test_a_preview_passes_unknown_types_through_and_says_so(executable: Path, tmp_path: Path, project: Path) -> None:
    said: list[str] = []
    engine = Engine(executable, LocalPaths(tmp_path / "local"), root=project, output=said.append)
    # The stack, the queue, and nine resources of eight types.
    assert engine.preview("test")["create"] == 11
    text = "\n".join(said)
    _, _, note = text.partition("note: ")
    counts = {
        token: int(count)
        for count, token in (line.split() for line in note.splitlines() if "1 " in line or "2 " in line)
    }
    assert counts == {
        "aws:rds/instance:Instance": 1,
        "aws:secretsmanager/secret:Secret": 1,
        "aws:secretsmanager/secretVersion:SecretVersion": 1,
        "aws:servicediscovery/privateDnsNamespace:PrivateDnsNamespace": 1,
        "aws:servicediscovery/service:Service": 2,
        "aws:wafv2/webAcl:WebAcl": 1,
        "command:local:Command": 1,
        "random:index/randomPet:RandomPet": 1,
    }
    assert "`make up` refuses" in note
    for output in ("address", "words"):
        assert any(
            line.split() == [output, ":", "[unknown]"] or line.split() == [f"{output}:", "[unknown]"] for line in said
        )
    # Nothing of one preview is told with the next.
    (project / "__main__.py").write_text('import pulumi_aws\npulumi_aws.sqs.Queue("known")\n')
    said.clear()
    engine.preview("test")
    assert "note: " not in "\n".join(said)


@pytest.mark.parametrize(
    ("token", "program"),
    [
        ("aws:secretsmanager/secret:Secret", 'import pulumi_aws\npulumi_aws.secretsmanager.Secret("dsn")\n'),
        (
            "command:local:Command",
            "import pulumi\n"
            'pulumi.CustomResource("command:local:Command", "c", {}, opts=pulumi.ResourceOptions(version="1.999.0"))\n',
        ),
    ],
)
def test_up_refuses_them_by_name_and_makes_none(
    executable: Path, tmp_path: Path, project: Path, token: str, program: str
) -> None:
    (project / "__main__.py").write_text(program)
    said: list[str] = []
    engine = Engine(executable, LocalPaths(tmp_path / "local"), root=project, output=said.append)
    with pytest.raises(EngineFailed):
        engine.up("test")
    kinds = {str(resource["type"]) for resource in engine.deployment("test").get("resources") or []}
    assert any(f"{token}: the stand-in" in line for line in said)
    assert token not in kinds


def test_an_unknown_function_is_an_error_with_its_remedy(executable: Path, tmp_path: Path, project: Path) -> None:
    (project / "__main__.py").write_text(
        'import pulumi\npulumi.runtime.invoke("command:local:run", {}, pulumi.InvokeOptions(version="1.999.0"))\n'
    )
    said: list[str] = []
    with pytest.raises(EngineFailed):
        Engine(executable, LocalPaths(tmp_path / "local"), root=project, output=said.append).preview("test")
    text = "\n".join(said)
    assert "command:local:run" in text
    assert "deploy this stack with the real provider" in text


@pytest.mark.parametrize(
    ("resource", "mistake"),
    [
        ('lb.TargetGroup("t", health_check={"pth": "/"}, port=80)', "healthCheck.pth: {}; did you mean 'path'?"),
        (
            'secretsmanager.Secret("s", replicas=[{"regon": "eu-west-1"}])',
            "replicas[0].regon: {}; did you mean 'region'?",
        ),
    ],
)
def test_a_wrong_property_name_ends_a_preview_with_the_right_one(
    executable: Path, tmp_path: Path, project: Path, resource: str, mistake: str
) -> None:
    (project / "__main__.py").write_text(f"import pulumi_aws\npulumi_aws.{resource}\n")
    said: list[str] = []
    with pytest.raises(EngineFailed):
        Engine(executable, LocalPaths(tmp_path / "local"), root=project, output=said.append).preview("test")
    text = "\n".join(said)
    assert mistake.format("there is no such property") in text
