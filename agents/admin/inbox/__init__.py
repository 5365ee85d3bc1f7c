"""The operators' inbox: people who wait for a person, and calls of tools that wait for an approval."""
