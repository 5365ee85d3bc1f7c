"""What all processes know of the routes to models: which may be asked now, and how fast."""
