"""The stack on one machine: the Pulumi engine, stand-in providers, an embedded AWS and a runner that plays ECS."""
