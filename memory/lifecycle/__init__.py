"""What is done to memories after they are written, in the background: bounded in time, resumable, and harmless when it
runs twice at a time."""
