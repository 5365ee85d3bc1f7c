"""The page of a conversation: its messages, turns and steps, live."""
