"""The models of the monitoring app."""
