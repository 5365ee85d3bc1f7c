"""Samples: what each process says of itself, and the gauges of the installation, every 30 seconds."""
