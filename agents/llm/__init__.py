"""Models: one port, the adapters behind it, and the gateway that finds the right one."""
