"""Stand-ins for the engine's provider plugins: previews of any stack, deployments on one machine."""
