"""The addresses that a VPC of its own may have."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from components.arguments import Valid

_PRIVATE = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))
_SHORTEST, _LONGEST = 16, 23

ADDRESS_BLOCKS = (
    f"a private IPv4 block of /{_SHORTEST} to /{_LONGEST} that begins at its first address, as in 10.0.0.0/16; private "
    f"are {', '.join(map(str, _PRIVATE))}"
)
"""What is allowed, in words.

A VPC is a /16 at most (https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html), and a load balancer takes
subnets of /27 or larger, sixteen of which a VPC is cut into. AWS takes public blocks as well: the VPC cannot reach their
owners any more, which somebody who mistypes a private block finds out late."""


def address_block_problem(value: str) -> str | None:
    """What is allowed, if `value` is not: `ADDRESS_BLOCKS`; else None."""
    try:
        block = ipaddress.IPv4Network(value)
    except ValueError:
        return ADDRESS_BLOCKS
    # The spelling too: the module takes a netmask in place of the length, and AWS does not.
    good = str(block) == value and _SHORTEST <= block.prefixlen <= _LONGEST and any(map(block.subnet_of, _PRIVATE))
    return None if good else ADDRESS_BLOCKS


AddressBlock = Annotated[
    str,
    Valid(
        address_block_problem,
        "write one such as 10.0.0.0/16, or give the id of a VPC that you made as `vpc`",
        ADDRESS_BLOCKS,
    ),
]
"""The address block of a VPC, as in `10.0.0.0/16`."""
