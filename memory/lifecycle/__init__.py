"""What happens to memories later: jobs, each bounded and resumable, which may run twice at a time."""
