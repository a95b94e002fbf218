"""What `make up` prints once the API answers: where everything is, and lines to paste."""

from __future__ import annotations

from dataclasses import dataclass

from local.cloud.principals import OPERATOR_ACCESS_KEY_ID, OPERATOR_SECRET_ACCESS_KEY


@dataclass(frozen=True)
class Facts:
    """Where things are. `token`, `bucket` and `queue_url` are None where the stack has none."""

    port: int
    cloud_endpoint: str
    region: str
    token: str | None
    bucket: str | None
    queue_url: str | None


def welcome(facts: Facts, seconds: float) -> str:
    base = f"http://localhost:{facts.port}"
    json_header = "-H 'Content-Type: application/json'"
    lines = [
        "",
        f"ready: http://127.0.0.1:{facts.port}  ({seconds:.1f} s)",
        "",
        f"  token   {facts.token or 'none in this stack'}",
        f"  AWS     {facts.cloud_endpoint}  region {facts.region}",
        f"          export AWS_ENDPOINT_URL={facts.cloud_endpoint} AWS_DEFAULT_REGION={facts.region} "
        f"AWS_ACCESS_KEY_ID={OPERATOR_ACCESS_KEY_ID} AWS_SECRET_ACCESS_KEY={OPERATOR_SECRET_ACCESS_KEY}",
        f"  bucket  {facts.bucket or 'none'}",
        f"  queue   {facts.queue_url or 'none'}",
        "",
        "Files:",
        f'  curl -X POST -d "file content" {base}/arquivos',
        f"  curl {base}/arquivos",
        f"  curl {base}/arquivos/<uuid>",
    ]
    if facts.token is not None:
        ingest = f'{{"token":"{facts.token}","data":{{"email_timestream":1749465045,"hello":"world"}}}}'
        submit = f'{{"token":"{facts.token}","email_timestream":"2026-01-31T12:00:00Z","hello":"world"}}'
        lines += [
            "Ingest (the worker writes one JSON object a message):",
            f"  curl -X POST {base}/ingest {json_header} -d '{ingest}'",
            f"  curl -X POST {base}/submit {json_header} -d '{submit}'",
        ]
    if facts.bucket is not None:
        sign = f"--user {OPERATOR_ACCESS_KEY_ID}:{OPERATOR_SECRET_ACCESS_KEY} --aws-sigv4 aws:amz:{facts.region}:s3"
        lines += [
            "The bucket, with any S3 client, or with curl:",
            f"  curl {sign} '{facts.cloud_endpoint}/{facts.bucket}?list-type=2&prefix=emails%2F'",
        ]
    return "\n".join(
        [
            *lines,
            "",
            "`make deploy` in another terminal deploys a change. Ctrl-C stops everything; what is stored stays.",
            "",
        ]
    )
