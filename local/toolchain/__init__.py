"""The Pulumi engine on this machine: found, fetched or built, once a machine."""
