"""Stand-ins for the engine's `aws` and `docker` provider plugins: previews of any stack, deployments on one machine."""
