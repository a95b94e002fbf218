"""An SQS queue with its dead-letter queue."""

from __future__ import annotations

from typing import Annotated, ClassVar

import pulumi
import pulumi_aws as aws

from components.arguments import Between, checked
from components.component import Children, Component, Options
from components.iam import Statement
from components.names import Name, environment_name
from components.overrides import Overrides
from components.uses import Use

MAX_MESSAGE_BYTES = 1_048_576
"""1 MiB, the most that SQS takes (body and attributes); the provider's default is still a quarter of it.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"""

DEAD_LETTER_DAYS = 14
"""The longest retention of SQS. A message keeps its first timestamp when it moves to the dead-letter queue, so the
dead-letter queue must keep messages for longer than the queue."""

MAX_VISIBILITY_TIMEOUT_SECONDS = 43_200
"""Twelve hours, also the longest that a worker can hold a message.
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html"""

_DAY = 86_400


class Queue(Component):
    """A standard queue, encrypted at rest, whose messages move to a dead-letter queue after `max_receives` failures.

    `visibility_timeout_seconds` (0 to 43,200) is how long a received message stays hidden: longer than a worker needs
    for one message, or for one heartbeat. `retention_days` is 1 to 13, less than the dead-letter queue's 14. `protected`
    (production) refuses to delete either queue: what was accepted waits in them.

    Raises ArgumentError for an argument out of its range.
    """

    children: ClassVar[Children] = {
        "dead-letters": "aws:sqs/queue:Queue",
        "queue": "aws:sqs/queue:Queue",
        "redrive-allow": "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy",
    }

    @checked
    def __init__(
        self,
        name: Name,
        *,
        visibility_timeout_seconds: Annotated[int, Between(0, MAX_VISIBILITY_TIMEOUT_SECONDS)] = 60,
        max_receives: Annotated[int, Between(1, 1_000)] = 5,
        retention_days: Annotated[int, Between(1, DEAD_LETTER_DAYS - 1)] = 4,
        protected: bool = False,
        overrides: Overrides | None = None,
        opts: Options = None,
    ) -> None:
        super().__init__(name, overrides=overrides, opts=opts)
        self.dead_letters = aws.sqs.Queue(
            f"{name}-dead-letters",
            message_retention_seconds=DEAD_LETTER_DAYS * _DAY,
            max_message_size=MAX_MESSAGE_BYTES,
            sqs_managed_sse_enabled=True,
            opts=self.options(protect=protected or None),
        )
        self.queue = aws.sqs.Queue(
            name,
            visibility_timeout_seconds=visibility_timeout_seconds,
            message_retention_seconds=retention_days * _DAY,
            max_message_size=MAX_MESSAGE_BYTES,
            sqs_managed_sse_enabled=True,
            redrive_policy=pulumi.Output.json_dumps(
                {"deadLetterTargetArn": self.dead_letters.arn, "maxReceiveCount": max_receives}
            ),
            opts=self.options(protect=protected or None),
        )
        aws.sqs.RedriveAllowPolicy(
            f"{name}-redrive-allow",
            queue_url=self.dead_letters.url,
            redrive_allow_policy=pulumi.Output.json_dumps(
                {"redrivePermission": "byQueue", "sourceQueueArns": [self.queue.arn]}
            ),
            opts=self.options(),
        )
        self.visibility_timeout_seconds = visibility_timeout_seconds
        self.arn = self.queue.arn
        self.url = self.queue.url
        self.dead_letter_url = self.dead_letters.url
        self.finish({"url": self.url, "dead_letter_url": self.dead_letter_url})

    def sending(self) -> Use:
        """The use of a producer. Environment: `<NAME>_QUEUE_URL`."""
        # A batch needs no action of its own: SendMessageBatch is authorised as sqs:SendMessage.
        # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-api-permissions-reference.html
        return self._use("sqs:SendMessage", "sqs:GetQueueAttributes")

    def consuming(self) -> Use:
        """The use of a consumer: receive, extend visibility, delete. Environment: `<NAME>_QUEUE_URL`."""
        return self._use(
            "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:GetQueueAttributes"
        )

    def _use(self, *actions: str) -> Use:
        return Use(
            source=self.name,
            statements=(Statement(actions=actions, resources=(self.arn,)),),
            environment={environment_name(self.name, "QUEUE_URL"): self.url},
            depends_on=(self.queue,),
        )
