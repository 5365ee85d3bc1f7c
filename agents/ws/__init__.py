"""The websocket `/ws/sessions/{id}/`, subprotocol `bandstand.v1`: accepts frames, sends a session's events."""
