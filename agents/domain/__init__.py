"""The rules of the domain as pure functions and values: no Django, no clock, no network."""
