"""The built-in tools: those that come with the platform."""

from agents.tools.builtin.calculator import calculator
from agents.tools.builtin.clock import clock
from agents.tools.builtin.http_fetch import http_fetch
from agents.tools.builtin.notebook import notebook_add

BUILTIN = (clock, calculator, http_fetch, notebook_add)
