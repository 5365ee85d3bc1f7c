"""The trace of a turn: its timeline, where the time went, what models were sent, and the export of a whole session."""
