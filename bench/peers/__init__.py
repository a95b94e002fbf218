"""How services like this one are often written; each runs as a process of its own."""
