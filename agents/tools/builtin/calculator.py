"""Arithmetic by walking the syntax tree: nothing is evaluated as Python, and what a calculation costs is bounded.

One long operation of C code keeps the interpreter's lock, so no time limit would end it: whatever an argument could
make expensive is bounded before it is calculated. The parser gets nothing but numbers, operators and the names below.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable

from agents.tools.tool import ToolError, tool

Number = int | float

_MAX_CHARACTERS = 1000
_MAX_DEPTH = 300
_MAX_BITS = 4096
# More digits than a number of so many bits has, and than a float has before or after its point.
_MAX_DIGITS = 1300
_TOKEN = re.compile(
    r"\s++"
    r"|(?:0[xob][0-9a-f_]++|(?:[0-9][0-9_]*+(?:\.[0-9_]*+)?|\.[0-9][0-9_]*+)(?:e[+-]?[0-9]++)?)(?![\w.])"
    r"|(?P<name>[a-z][a-z0-9]*+)"
    r"|[-+*/%(),]",
    re.ASCII | re.IGNORECASE,
)


def _round(value: Number, digits: object = None) -> Number:
    """`round` whose cost does not grow with `digits`: for an integer it would calculate 10 to the power of them."""
    if digits is None:
        return round(value)
    if not isinstance(digits, int):
        raise ToolError("The number of digits to round to must be whole.")
    return round(value, max(-_MAX_DIGITS, min(digits, _MAX_DIGITS)))


_CONSTANTS: dict[str, Number] = {"pi": math.pi, "e": math.e}
_FUNCTIONS: dict[str, Callable[..., Number]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "exp": math.exp,
    "floor": math.floor,
    "log": math.log,
    "log10": math.log10,
    "max": max,
    "min": min,
    "round": _round,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "tan": math.tan,
}
_BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: dict[type[ast.unaryop], Callable[[Number], Number]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_TYPOGRAPHIC = str.maketrans({"×": "*", "÷": "/", "−": "-", "·": "*"})  # noqa: RUF001 - as people write them


@tool(idempotent=True, writes=False, timeout_seconds=5, isolated=True, trusted_output=True)
def calculator(expression: str) -> str:
    """Calculate an arithmetic expression exactly where possible.

    Args:
        expression: Numbers, parentheses, + - * / // % **, and abs, ceil, cos, exp, floor, log, log10, max, min,
            round, sin, sqrt, tan, pi, e. Example: 2+3*4
    """
    return calculate(expression)


def calculate(expression: str) -> str:
    """The value of `expression` as text. Raises `ToolError`."""
    if len(expression) > _MAX_CHARACTERS:
        raise ToolError(f"The expression is longer than {_MAX_CHARACTERS} characters.")
    try:
        source = expression.translate(_TYPOGRAPHIC).strip()
        _check_tokens(source)
        tree = ast.parse(source, mode="eval")
        return _format_number(_value(tree.body, _MAX_DEPTH))
    except ZeroDivisionError:
        raise ToolError("Division by zero.") from None
    except (SyntaxError, RecursionError, MemoryError):
        raise ToolError("This is not an arithmetic expression.") from None
    except (OverflowError, ValueError, TypeError) as error:
        raise ToolError(f"This has no value: {error}.") from None


def _check_tokens(source: str) -> None:
    """Raise `ToolError` unless `source` consists of numbers, operators and names that are known here."""
    position = 0
    while position < len(source):
        token = _TOKEN.match(source, position)
        if token is None or (token["name"] and token["name"] not in _CONSTANTS | _FUNCTIONS):
            raise ToolError("Only numbers, + - * / // % **, parentheses and a few functions can be calculated.")
        position = token.end()


def _value(node: ast.expr, depth: int) -> Number:
    if depth == 0:
        raise ToolError("The expression is nested too deeply.")
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=sign, operand=operand) if type(sign) in _UNARY:
            return _UNARY[type(sign)](_value(operand, depth - 1))
        case ast.BinOp(left=left, op=sign, right=right):
            return _apply_binary(sign, _value(left, depth - 1), _value(right, depth - 1))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _check_range(_FUNCTIONS[name](*(_value(argument, depth - 1) for argument in arguments)))
    raise ToolError("Only numbers, + - * / // % **, parentheses and a few functions can be calculated.")


def _apply_binary(sign: ast.operator, lhs: Number, rhs: Number) -> Number:
    if isinstance(sign, ast.Pow):
        return _check_range(_power(lhs, rhs))
    if type(sign) not in _BINARY:
        raise ToolError("Use ** for powers; only + - * / // % ** are known.")
    # Every operand is within the limit, so a product cannot use much memory before it is checked.
    return _check_range(_BINARY[type(sign)](lhs, rhs))


def _power(base: Number, exponent: Number) -> Number:
    """Checked before it is calculated: the power of small numbers can fill the memory."""
    is_integer = isinstance(base, int) and isinstance(exponent, int)
    if is_integer and abs(base) > 1 and int(base).bit_length() * abs(exponent) > 2 * _MAX_BITS:
        raise ToolError("The number is too large.")
    value = base**exponent
    if isinstance(value, complex):
        raise ToolError("The result is not a real number.")
    return value


def _check_range(value: object) -> Number:
    if isinstance(value, float) and not math.isfinite(value):
        raise ToolError("The number is too large.")
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise ToolError("The number is too large.")
    if not isinstance(value, int | float):
        raise ToolError("The result is not a real number.")
    return value


def _format_number(value: Number) -> str:
    """Floats with 15 digits: 0.1+0.2 is 0.3."""
    number = _check_range(value)
    return str(number) if isinstance(number, int) else format(number, ".15g")
