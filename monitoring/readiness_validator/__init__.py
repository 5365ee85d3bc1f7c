"""The readiness validator: whether this installation, and an agent on it, may be given to people."""
