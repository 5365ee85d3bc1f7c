"""Alert rules: what they measure, how they are judged, and how people are notified."""
