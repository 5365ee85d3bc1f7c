"""Pure rules: no Django, no clock, no network. The edge reads the time and the rows, and passes them in."""
