"""What is done to memories after they are written, in the background, bounded in time and resumable."""
