"""The built-in tools: those that come with the platform."""

from agents.tools.builtin.calculator import calculator
from agents.tools.builtin.clock import clock
from agents.tools.builtin.http_fetch import http_fetch
from agents.tools.builtin.memory_tools import forget, recall, remember
from agents.tools.builtin.notebook import notebook_add
from agents.tools.builtin.request_human import request_human
from agents.tools.builtin.working_memory_tools import add_task, finish_task, note

BUILTIN = (
    clock,
    calculator,
    http_fetch,
    notebook_add,
    remember,
    recall,
    forget,
    add_task,
    finish_task,
    note,
    request_human,
)
