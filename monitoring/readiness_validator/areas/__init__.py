"""One module for each area: its `check` yields the lines of the area, and may raise what it likes."""
