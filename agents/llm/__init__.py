"""Models: one interface, the adapters that implement it, and the gateway that finds the adapter of a route."""
