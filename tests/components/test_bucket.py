from __future__ import annotations

import pulumi
import pytest

from components import ArgumentError, Bucket
from components.iam import policy
from tests.components.deployment import Deployment, deploy, deploy_twice, statements

ARN = "arn:aws:s3:::emails-1a2b3c4"


@pytest.fixture(scope="module")
def emails() -> Deployment:
    def program() -> None:
        bucket = Bucket("emails", protected=False)
        for name, use in {"writing": bucket.writing("emails/"), "reading": bucket.reading("emails/")}.items():
            pulumi.export(name, policy(use.statements))
            pulumi.export(f"{name}-environment", use.environment)

    return deploy_twice(program)


def test_no_public_access_and_no_acl_reaches_it(emails: Deployment) -> None:
    block = emails.one(":BucketPublicAccessBlock").inputs
    assert block["blockPublicAcls"] and block["blockPublicPolicy"]
    assert block["ignorePublicAcls"] and block["restrictPublicBuckets"]
    assert emails.one(":BucketOwnershipControls").inputs["rule"] == {"objectOwnership": "BucketOwnerEnforced"}


def test_it_refuses_whatever_does_not_come_over_tls(emails: Deployment) -> None:
    (statement,) = emails.one(":BucketPolicy").json("policy")["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Resource"] == [ARN, f"{ARN}/*"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_the_policy_waits_for_the_public_access_block(emails: Deployment) -> None:
    assert (
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock::emails-public-access"
        in emails.one(":BucketPolicy").depends_on
    )


def test_trap_33_encryption_versioning_and_lifecycle_are_resources_of_their_own(emails: Deployment) -> None:
    (rule,) = emails.one(":BucketServerSideEncryptionConfiguration").inputs["rules"]
    assert rule["applyServerSideEncryptionByDefault"] == {"sseAlgorithm": "AES256"}
    assert emails.one(":BucketVersioning").inputs["versioningConfiguration"] == {"status": "Enabled"}
    rules = {rule["id"]: rule for rule in emails.one(":BucketLifecycleConfiguration").inputs["rules"]}
    assert rules["abort-incomplete-uploads"]["abortIncompleteMultipartUpload"] == {"daysAfterInitiation": 7}
    assert rules["expire-noncurrent-versions"]["noncurrentVersionExpiration"] == {"noncurrentDays": 30}
    assert set(emails.one(":Bucket").inputs) == {"forceDestroy"}


def test_a_protected_bucket_and_its_objects_are_not_deleted() -> None:
    bucket = deploy(lambda: Bucket("emails", protected=True)).one(":Bucket")
    assert bucket.options.protect is True
    assert bucket.inputs["forceDestroy"] is False


def test_another_goes_with_its_objects(emails: Deployment) -> None:
    assert emails.one(":Bucket").inputs["forceDestroy"] is True
    assert emails.one(":Bucket").options.protect is False


def test_a_writer_may_put_below_its_prefix_and_nothing_else(emails: Deployment) -> None:
    assert list(statements(emails.outputs["writing"])) == [(["s3:PutObject"], [f"{ARN}/emails/*"], {})]


def test_a_reader_may_get_and_list_below_its_prefix_and_nothing_else(emails: Deployment) -> None:
    assert list(statements(emails.outputs["reading"])) == [
        (["s3:GetObject"], [f"{ARN}/emails/*"], {}),
        (["s3:ListBucket"], [ARN], {"StringLike": {"s3:prefix": "emails/*"}}),
    ]


def test_both_learn_the_bucket_and_the_prefix(emails: Deployment) -> None:
    for use, prefix in (("writing", "EMAILS_PREFIX"), ("reading", "EMAILS_READ_PREFIX")):
        assert emails.outputs[f"{use}-environment"] == {"EMAILS_BUCKET": "emails-1a2b3c4", prefix: "emails/"}


@pytest.mark.parametrize("prefix", ["", "emails", "/emails/", "*", "emails/*", "${aws:username}/"])
def test_a_prefix_that_would_mean_something_else_is_an_error(prefix: str) -> None:
    with pytest.raises(ArgumentError, match="write it as 'emails/'"):
        deploy(lambda: Bucket("emails", protected=False).writing(prefix))
