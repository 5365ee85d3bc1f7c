"""One's own account, and passwords that were forgotten."""
