"""How long to pause before a model is asked once more: exponential backoff with full jitter, in seconds."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between 0 and `base_seconds` · 2ⁿ, `cap_seconds` at most, where n counts the retries before."""

    base_seconds: float = 0.5
    cap_seconds: float = 20.0

    def scaled(self, factor: float) -> Backoff:
        """These pauses, `factor` times as long; the cap stays."""
        return replace(self, base_seconds=self.base_seconds * factor)

    def largest_pause(self, retries: int) -> float:
        """The upper bound of the pause after so many retries."""
        # Beyond 2⁶⁴ the cap decides for any base, and a float would overflow at last.
        return min(self.cap_seconds, self.base_seconds * 2.0 ** min(retries, 64))

    def pause(self, retries: int, *, draw: float, floor_seconds: float | None = None) -> float:
        """The pause after so many retries; `draw` is a random number from 0 to 1.

        `floor_seconds` is what the provider asks for (`Retry-After`). The random part comes on top of it: everybody who
        was refused at the same moment was given the same floor.
        """
        return (floor_seconds or 0.0) + draw * self.largest_pause(retries)
