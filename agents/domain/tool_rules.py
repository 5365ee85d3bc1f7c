"""The rule of a release for one tool: a frozen value, its JSON, and its lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeVar

from agents.domain.approvals import DEFAULT_APPROVAL_HOURS, MAX_APPROVAL_HOURS, Decider
from agents.domain.argument_schemas import check_schema
from foundation import strict_json
from foundation.errors import InvalidInput

_MAX_ARGUMENTS: Final = 50

_Enum = TypeVar("_Enum", bound=StrEnum)


class ToolRight(StrEnum):
    """What happens to a call; the later ones are stricter."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


class Untrusted(StrEnum):
    """What happens to a call with a value that may come from a source with low trust."""

    ANY = "any"
    ASK = "ask"
    DENY = "deny"

    @property
    def right(self) -> ToolRight:
        """The right that such a call has."""
        return ToolRight.ALLOW if self is Untrusted.ANY else ToolRight(self.value)


class MismatchAction(StrEnum):
    """What happens to a call whose arguments do not fit the schema of its rule."""

    ASK = "ask"
    DENY = "deny"

    @property
    def right(self) -> ToolRight:
        """The right that such a call has."""
        return ToolRight(self.value)


@dataclass(frozen=True, slots=True)
class ToolRule:
    """The rule of a release for one tool.

    `schema` is a JSON Schema of the arguments that may pass, `otherwise` is what happens to other calls. `untrusted` is
    for values that may come from a source with low trust; `untrusted_arguments` says so for single arguments instead.
    `approval_hours` is how long a call waits for a decision.
    """

    right: ToolRight = ToolRight.ALLOW
    schema: Mapping[str, Any] | None = None
    otherwise: MismatchAction = MismatchAction.DENY
    untrusted: Untrusted = Untrusted.ANY
    untrusted_arguments: Mapping[str, Untrusted] = field(default_factory=dict)
    decided_by: Decider = Decider.USER
    approval_hours: int = DEFAULT_APPROVAL_HOURS

    @property
    def checks_sources(self) -> bool:
        """Whether it matters where values come from."""
        return any(one is not Untrusted.ANY for one in (self.untrusted, *self.untrusted_arguments.values()))

    @property
    def argument_names(self) -> frozenset[str]:
        """The arguments of the tool that the rule names at the top."""
        named = set(self.untrusted_arguments)
        if self.schema is not None:
            named |= {*self.schema.get("properties", ()), *self.schema.get("required", ())}
        return frozenset(named)

    def untrusted_right(self, argument: str) -> ToolRight:
        """What happens to a call whose argument of this name has a value of low trust."""
        return self.untrusted_arguments.get(argument, self.untrusted).right


_DEFAULT: Final = ToolRule()
_MEMBERS: Final = (
    "right",
    "schema",
    "otherwise",
    "untrusted",
    "untrusted_arguments",
    "decided_by",
    "approval_hours",
)


def parse_rule(value: Any, pointer: str) -> ToolRule:
    """The rule in a JSON object; what it leaves out has its default. Raises `InvalidInput` with a pointer."""
    if not isinstance(value, Mapping):
        raise InvalidInput("The rule of a tool is an object.", pointer=pointer)
    for name in value:
        if name not in _MEMBERS:
            raise InvalidInput(f"Unknown name {str(name)[:60]!r}; known are {', '.join(_MEMBERS)}.", pointer=pointer)
    if "right" not in value:
        raise InvalidInput("A right is needed: allow, ask or deny.", pointer=f"{pointer}/right")
    schema = value.get("schema")
    if schema is not None:
        check_schema(schema, f"{pointer}/schema")
    return ToolRule(
        right=_choice(ToolRight, value, "right", _DEFAULT.right, pointer),
        schema=schema,
        otherwise=_choice(MismatchAction, value, "otherwise", _DEFAULT.otherwise, pointer),
        untrusted=_choice(Untrusted, value, "untrusted", _DEFAULT.untrusted, pointer),
        untrusted_arguments=_parse_arguments(value.get("untrusted_arguments", {}), f"{pointer}/untrusted_arguments"),
        decided_by=_choice(Decider, value, "decided_by", _DEFAULT.decided_by, pointer),
        approval_hours=_parse_hours(value.get("approval_hours", DEFAULT_APPROVAL_HOURS), f"{pointer}/approval_hours"),
    )


def dump_rule(rule: ToolRule) -> dict[str, Any]:
    """The JSON object that `parse_rule` reads: the right, and what has not its default."""
    return {
        name: _plain(value)
        for name, value in ((name, getattr(rule, name)) for name in _MEMBERS)
        if name == "right" or value != getattr(_DEFAULT, name)
    }


def rule_lines(tool: str, rule: ToolRule) -> list[str]:
    """The rule of `tool` in words, a line for each thing that it says."""
    lines = [f"{tool}: {_RIGHT_WORDS[rule.right]}"]
    if rule.schema is not None:
        fits = strict_json.canonical(rule.schema).decode()
        lines.append(f"{tool}: calls that do not fit the schema are {_PASSIVE[rule.otherwise.right]}: {fits}")
    if rule.untrusted is not Untrusted.ANY:
        lines.append(f"{tool}: calls with values from untrusted sources are {_PASSIVE[rule.untrusted.right]}")
    for name, untrusted in sorted(rule.untrusted_arguments.items()):
        lines.append(f"{tool}: calls with an untrusted {name} are {_PASSIVE[untrusted.right]}")
    if may_need_approval(rule):
        who = "an operator" if rule.decided_by is Decider.OPERATOR else "the user"
        hours = "1 hour" if rule.approval_hours == 1 else f"{rule.approval_hours} hours"
        lines.append(f"{tool}: {who} decides within {hours}")
    return lines


def may_need_approval(rule: ToolRule) -> bool:
    """Whether a call can need somebody's approval by `rule`."""
    if rule.right is ToolRight.DENY:
        return False
    untrusted = (rule.untrusted, *rule.untrusted_arguments.values())
    return (
        rule.right is ToolRight.ASK
        or Untrusted.ASK in untrusted
        or (rule.schema is not None and rule.otherwise is MismatchAction.ASK)
    )


_RIGHT_WORDS: Final = {
    ToolRight.ALLOW: "calls run",
    ToolRight.ASK: "every call needs approval",
    ToolRight.DENY: "every call is refused",
}
_PASSIVE: Final = {ToolRight.ALLOW: "run", ToolRight.ASK: "asked about", ToolRight.DENY: "refused"}


def _choice(kind: type[_Enum], value: Mapping[str, Any], name: str, default: _Enum, pointer: str) -> _Enum:
    try:
        return kind(value.get(name, default))
    except ValueError:
        raise InvalidInput(f"One of {', '.join(kind)} is expected.", pointer=f"{pointer}/{name}") from None


def _parse_arguments(value: Any, pointer: str) -> dict[str, Untrusted]:
    if not isinstance(value, Mapping) or len(value) > _MAX_ARGUMENTS:
        raise InvalidInput(f"An object of at most {_MAX_ARGUMENTS} arguments is expected.", pointer=pointer)
    return {name: _choice(Untrusted, value, name, Untrusted.ANY, pointer) for name in value}


def _parse_hours(value: Any, pointer: str) -> int:
    if type(value) is not int or not 1 <= value <= MAX_APPROVAL_HOURS:
        raise InvalidInput(f"A whole number of hours from 1 to {MAX_APPROVAL_HOURS} is expected.", pointer=pointer)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return value
