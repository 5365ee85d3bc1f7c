"""The websocket `/ws/sessions/{id}/`, subprotocol `bandstand.v1`: accepts frames and relays the session's log."""
