"""What an agent does, each setting declared once: its type, default, bounds and labels.

Drafts and releases keep a configuration as one JSON object, `{"schema": 1, "model_chain": ["offline:"], ...}`. Settings
that have their default are left out, so an older process reads what a newer one wrote as long as nothing new is used.
Parsing, validation, the form of a draft, differences and the page of a release are all made from the declarations. So a
new setting is an attribute of `AgentConfiguration`, or of one of its groups, and whatever uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Annotated, Any, Self, get_type_hints

from agents.domain.budgets import LEAST_OUTPUT_TOKENS
from agents.domain.response_fallbacks import HANDOFF_TEXT, Fallback
from agents.domain.tool_rules import ToolRule, dump_rule, parse_rule, rule_lines
from agents.domain.usage import costs_nothing
from foundation.errors import InvalidInput, Unavailable
from foundation.text_lines import split_lines

Stored = dict[str, Any]

# The first step turns an object of schema 1 into one of schema 2, and so on. What was published keeps its schema for
# ever and is upgraded each time that it is read. Whatever changes what stored objects mean needs a step: another name,
# narrower bounds, another default of a setting that stands in no group. A new setting needs none.
UPGRADES: tuple[Callable[[Stored], Stored], ...] = ()


class NewerConfiguration(Unavailable):
    """This configuration was written by a newer version of Bandstand."""


@dataclass(frozen=True, slots=True)
class Installed:
    """What a configuration may name in this installation. `route_error(route)` says why a route cannot be used; None
    when it can. `tool_arguments(tool)` names the arguments of an installed tool."""

    tools: frozenset[str]
    route_error: Callable[[str], str | None]
    tool_arguments: Callable[[str], Collection[str]] = field(default=lambda _: ())


# --- kinds of settings ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Setting:
    """The declaration of an attribute, as part of its annotation. `default` is the attribute's default, for
    configurations that do not set it. `section` is the heading of the draft's form under which it stands; the members
    of a group stand under the group's."""

    label: str
    help_text: str
    section: str = field(default="", kw_only=True)
    default: Any = field(default=None, kw_only=True)

    def parse(self, value: Any, pointer: str) -> Any:
        """The Python value for `value`, which comes from JSON. Raises `InvalidInput` with `pointer`."""
        raise NotImplementedError

    def dump(self, value: Any) -> Any:
        """`value` as a JSON value."""
        return value

    def validate(self, value: Any, pointer: str, installed: Installed) -> None:
        """Raise `InvalidInput` with a pointer when no turn could run on `value` in this installation."""

    def lines(self, value: Any) -> list[str]:
        """`value` as the lines that a comparison of two configurations shows."""
        raise NotImplementedError

    def text(self, value: Any) -> str:
        """`value` as text for a page."""
        return ", ".join(self.lines(value)) or "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeNumber(Setting):
    """An integer from 1 to `largest`. `absent` is the text for None, where None is the default."""

    largest: int
    absent: str = ""

    def parse(self, value: Any, pointer: str) -> int:
        if type(value) is not int or not 1 <= value <= self.largest:
            raise InvalidInput(f"A whole number from 1 to {self.largest} is expected.", pointer=pointer)
        return value

    def lines(self, value: int | None) -> list[str]:
        return [self.absent if value is None else f"{value:,}"]


@dataclass(frozen=True, slots=True)
class Switch(Setting):
    """On or off."""

    def parse(self, value: Any, pointer: str) -> bool:
        if not isinstance(value, bool):
            raise InvalidInput("true or false is expected.", pointer=pointer)
        return value

    def lines(self, value: bool) -> list[str]:
        return ["on" if value else "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Setting):
    """Lines of text, of at most `largest` characters."""

    largest: int

    def parse(self, value: Any, pointer: str) -> str:
        if not isinstance(value, str) or len(value) > self.largest:
            raise InvalidInput(f"Text of at most {self.largest:,} characters is expected.", pointer=pointer)
        return value

    def lines(self, value: str) -> list[str]:
        return split_lines(value)

    def text(self, value: str) -> str:
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLine(Text):
    """One line of text, which is not empty."""

    def parse(self, value: Any, pointer: str) -> str:
        text = Text.parse(self, value, pointer)
        if len(split_lines(text)) != 1 or not text.strip():
            raise InvalidInput("One line of text is expected.", pointer=pointer)
        return text


@dataclass(frozen=True, slots=True)
class Texts(Setting):
    """A tuple of texts in their order."""

    def dump(self, value: tuple[str, ...]) -> list[str]:
        return list(value)

    def lines(self, value: tuple[str, ...]) -> list[str]:
        return list(value)


@dataclass(frozen=True, slots=True)
class RouteChain(Texts):
    """Routes of models, first choice first; each reads `provider:model`. `is_optional`: there may be none."""

    is_optional: bool = field(default=False, kw_only=True)

    def parse(self, value: Any, pointer: str) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise InvalidInput("A list of routes is expected.", pointer=pointer)
        for index, route in enumerate(value):
            if not isinstance(route, str) or ":" not in route or len(route) > 200:
                raise InvalidInput("A route reads provider:model.", pointer=f"{pointer}/{index}")
        return tuple(value)

    def validate(self, value: tuple[str, ...], pointer: str, installed: Installed) -> None:
        if not value and not self.is_optional:
            raise InvalidInput("At least one route is needed.", pointer=pointer)
        for index, route in enumerate(value):
            if (fault := installed.route_error(route)) is not None:
                raise InvalidInput(fault, pointer=f"{pointer}/{index}")


@dataclass(frozen=True, slots=True)
class ToolNames(Texts):
    """Names of tools, each once, in the order in which the model reads of them."""

    def parse(self, value: Any, pointer: str) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise InvalidInput("A list of tool names is expected.", pointer=pointer)
        for index, name in enumerate(value):
            if not isinstance(name, str):
                raise InvalidInput("The name of a tool is expected.", pointer=f"{pointer}/{index}")
            if name in value[:index]:
                raise InvalidInput(f"{name!r} stands here twice; providers refuse that.", pointer=f"{pointer}/{index}")
        return tuple(value)

    def validate(self, value: tuple[str, ...], pointer: str, installed: Installed) -> None:
        for index, name in enumerate(value):
            if name not in installed.tools:
                raise InvalidInput(f"There is no tool {name!r}.", pointer=f"{pointer}/{index}")


@dataclass(frozen=True, slots=True)
class ToolRights(Setting):
    """Rules of tools by name, as a tuple of (tool, rule) in the order of their names."""

    def parse(self, value: Any, pointer: str) -> tuple[tuple[str, ToolRule], ...]:
        if not isinstance(value, Mapping):
            raise InvalidInput("An object of rules by the names of tools is expected.", pointer=pointer)
        return tuple((name, parse_rule(value[name], f"{pointer}/{escape_pointer(name)}")) for name in sorted(value))

    def dump(self, value: tuple[tuple[str, ToolRule], ...]) -> Stored:
        return {name: dump_rule(rule) for name, rule in value}

    def validate(self, value: tuple[tuple[str, ToolRule], ...], pointer: str, installed: Installed) -> None:
        for name, rule in value:
            rule_pointer = f"{pointer}/{escape_pointer(name)}"
            if name not in installed.tools:
                raise InvalidInput(f"There is no tool {name!r}.", pointer=rule_pointer)
            arguments = installed.tool_arguments(name)
            # A name that the tool does not have would bind nothing, and nobody would notice.
            if unknown := sorted(rule.argument_names.difference(arguments)):
                names = ", ".join(sorted(arguments)) or "none"
                raise InvalidInput(f"{name} has no argument {unknown[0]!r}. It has: {names}.", pointer=rule_pointer)

    def lines(self, value: tuple[tuple[str, ToolRule], ...]) -> list[str]:
        return [line for name, rule in value for line in rule_lines(name, rule)]

    def text(self, value: tuple[tuple[str, ToolRule], ...]) -> str:
        return "\n".join(self.lines(value)) or "none: every call of a tool runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices(Texts):
    """Some of `choices`, each at most once."""

    choices: tuple[str, ...]

    def parse(self, value: Any, pointer: str) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise InvalidInput(f"A list of {', '.join(self.choices)} is expected.", pointer=pointer)
        for index, choice in enumerate(value):
            if not isinstance(choice, str) or choice not in self.choices or choice in value[:index]:
                raise InvalidInput(
                    f"One of {', '.join(self.choices)} is expected, each once.", pointer=f"{pointer}/{index}"
                )
        return tuple(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackOrder(Choices):
    """Fallbacks, each once, in the order in which they are tried."""

    choices: tuple[str, ...] = tuple(Fallback)

    def validate(self, value: tuple[str, ...], pointer: str, installed: Installed) -> None:  # noqa: ARG002
        for index, name in enumerate(value[:-1]):
            # Only an error can follow a handoff, and that is what a turn ends with anyway.
            if name in (Fallback.HUMAN_HANDOFF, Fallback.ERROR_RESPONSE):
                raise InvalidInput(f"Nothing can come after {name}.", pointer=f"{pointer}/{index}")


@dataclass(frozen=True, slots=True)
class Nested(Setting):
    """A nested object of settings: a `SettingGroup` of the class of its default."""

    @property
    def members(self) -> Mapping[str, Setting]:
        members: Mapping[str, Setting] = self.default.settings
        return members

    def parse(self, value: Any, pointer: str) -> SettingGroup:
        if not isinstance(value, Mapping):
            raise InvalidInput("An object is expected.", pointer=pointer)
        parsed = _parse_members(value, self.members, pointer)
        pinned = frozenset(name for name, item in parsed.items() if item == self.members[name].default)
        group: SettingGroup = type(self.default)(**parsed, pinned=pinned)
        return group

    def dump(self, value: SettingGroup) -> Stored:
        members = self.members.items()
        return {name: setting.dump(getattr(value, name)) for name, setting in members if value.is_set(name)}

    def validate(self, value: SettingGroup, pointer: str, installed: Installed) -> None:
        for name, setting in self.members.items():
            setting.validate(getattr(value, name), f"{pointer}/{name}", installed)
        value.validate(pointer)

    def lines(self, value: SettingGroup) -> list[str]:
        return [
            f"{name.replace('_', ' ')}: {setting.text(getattr(value, name))}"
            + ("" if value.is_set(name) else " (default)")
            for name, setting in self.members.items()
        ]

    def text(self, value: SettingGroup) -> str:
        return "\n".join(self.lines(value))


@cache
def declared_settings(kind: type[Any]) -> Mapping[str, Setting]:
    """The declarations of a class's attributes by name, in the order of the attributes."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        attribute.name: replace(declaration, default=attribute.default)
        for attribute in fields(kind)
        for declaration in getattr(hints[attribute.name], "__metadata__", ())
    }


# --- the settings -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SettingGroup:
    """`pinned` names the members that were set to what is their default today: they stay when the default moves."""

    pinned: frozenset[str] = field(default=frozenset(), kw_only=True)

    def __post_init__(self) -> None:
        settings = self.settings
        at_default = frozenset(name for name in self.pinned if getattr(self, name) == settings[name].default)
        object.__setattr__(self, "pinned", at_default)

    @property
    def settings(self) -> Mapping[str, Setting]:
        kind: Any = type(self)  # mypy takes a class for as unhashable as its instances might be
        return declared_settings(kind)

    def is_set(self, name: str) -> bool:
        """Whether the configuration itself says what `name` is."""
        return name in self.pinned or getattr(self, name) != self.settings[name].default

    def validate(self, pointer: str) -> None:
        """Raise `InvalidInput` with a pointer when the members do not fit each other."""


@dataclass(frozen=True, slots=True)
class TurnLimits(SettingGroup):
    """Bounds of one turn. Reaching one ends the turn as `failed` with `limit_reached`; time ends it as `expired`.

    `steps` counts model calls; `output_tokens` is for all of them together, `call_output_tokens` is what one call asks
    the provider for (None: the provider's own bound). `turn_seconds` is for the work of one claim, so that a turn is
    not punished for the time in which no runner lived; the turn's deadline bounds all of it.
    """

    steps: Annotated[int, WholeNumber("Model calls", "How often one turn may ask the model.", largest=100)] = 12
    tool_calls: Annotated[int, WholeNumber("Tool calls", "How many tools one turn may run.", largest=500)] = 24
    output_tokens: Annotated[
        int, WholeNumber("Tokens written", "By all model calls of one turn together.", largest=1_000_000)
    ] = 32_000
    call_output_tokens: Annotated[
        int | None,
        WholeNumber(
            "Tokens per call",
            "What one model call asks the provider for.",
            largest=1_000_000,
            absent="the provider's own limit",
        ),
    ] = None
    least_output_tokens: Annotated[
        int,
        WholeNumber(
            "Least tokens per call",
            "Where a budget has little left an answer is shortened, but not below this: it waits or is refused then.",
            largest=100_000,
        ),
    ] = LEAST_OUTPUT_TOKENS
    turn_seconds: Annotated[int, WholeNumber("Seconds", "How long one turn may work.", largest=3_600)] = 300


@dataclass(frozen=True, slots=True)
class ContextPolicy(SettingGroup):
    """What goes to the model of a conversation that is longer than its context window, in percent of that window less
    the room for the answer; and how far back it reads at all."""

    history_messages: Annotated[
        int, WholeNumber("Messages", "How many of the newest messages the model reads again, at most.", largest=1_000)
    ] = 100
    answer_tokens: Annotated[
        int,
        WholeNumber(
            "Room for the answer",
            "Tokens that are kept free for it where “Tokens per call” is empty; half of the window at most.",
            largest=1_000_000,
        ),
    ] = 4_096
    task_percent: Annotated[
        int, WholeNumber("Task, percent", "Of the window, what goals and open tasks may have at most.", largest=100)
    ] = 30
    memory_percent: Annotated[
        int, WholeNumber("Memories, percent", "Of the window, what recalled memories may have at most.", largest=100)
    ] = 40
    summaries: Annotated[
        bool,
        Switch(
            "Summaries",
            "After a turn that had to leave out messages, a model for side work summarises them, and later turns read "
            "the summary in their place.",
        ),
    ] = False


@dataclass(frozen=True, slots=True)
class FallbackSettings(SettingGroup):
    """What people get when no model of the chain gives an answer. Without an `order`: the error."""

    order: Annotated[
        tuple[str, ...],
        FallbackOrder(
            "What to try, in order",
            "One per line. cached_response: the answer that this person got to exactly the same request before. "
            "simplified_response: a simpler model, which reads the instructions and the last message only. "
            "human_handoff: a person is asked to take over. error_response: the error, which comes last anyway.",
        ),
    ] = ()
    cached_hours: Annotated[
        int, WholeNumber("Age of a cached answer", "In hours; older ones are not shown again.", largest=720)
    ] = 24
    simplified_models: Annotated[
        tuple[str, ...],
        RouteChain(
            "Simpler models",
            "One per line, as provider:model, for simplified_response. Each is asked once.",
            is_optional=True,
        ),
    ] = ()
    handoff_text: Annotated[
        str, TextLine("Text of a handoff", "What the person reads who waits for an answer then.", largest=500)
    ] = HANDOFF_TEXT

    def validate(self, pointer: str) -> None:
        """See `SettingGroup`."""
        if Fallback.SIMPLIFIED_RESPONSE in self.order and not self.simplified_models:
            raise InvalidInput("simplified_response needs a model.", pointer=f"{pointer}/simplified_models")


@dataclass(frozen=True, slots=True)
class HandoffSettings(SettingGroup):
    """When a person is asked to take over, and how long that may take."""

    offered: Annotated[
        bool, Switch("Users may ask", "The chat has a button with which its user asks for a person.")
    ] = True
    failed_turns: Annotated[
        int | None,
        WholeNumber(
            "After failed turns",
            "A person is asked for when so many turns of a chat have failed in a row.",
            largest=20,
            absent="never",
        ),
    ] = None
    refused_call: Annotated[
        bool, Switch("After a refused call", "A person is asked for when a call of a tool was refused.")
    ] = False
    thumb_down: Annotated[
        bool, Switch("After a thumb down", "A person is asked for when the user does not like an answer.")
    ] = False
    first_reply_minutes: Annotated[
        int, WholeNumber("First reply, minutes", "How soon a person should have replied.", largest=10_080)
    ] = 10
    queue_minutes: Annotated[
        int, WholeNumber("Waiting, minutes", "How long a user waits for a person at most.", largest=10_080)
    ] = 60
    return_after_queue: Annotated[
        bool,
        Switch(
            "Then go on with the agent",
            "When nobody came in time, the request is ended and the user reads so. Off: the user reads so, and the "
            "request stays.",
        ),
    ] = True


# As `memory.enums.MemoryScope`, which this package does not import.
MEMORY_SCOPES = ("session", "user", "agent", "shared")


@dataclass(frozen=True, slots=True)
class MemoryPolicy(SettingGroup):
    """What the agent remembers by itself, and what it recalls before it answers. All off: its turns do without memory.

    What users store by hand, or through the API, needs no switch.
    """

    recall: Annotated[
        bool, Switch("Recall", "Give the model what is remembered about the question, before it answers.")
    ] = False
    remember_turns: Annotated[
        bool, Switch("Remember what is said", "Keep what the user and the agent said, word for word, for later chats.")
    ] = False
    extract: Annotated[
        bool,
        Switch(
            "Extract facts", "Ask a model after a turn which lasting facts the user stated. Costs one more call a turn."
        ),
    ] = False
    top_k: Annotated[int, WholeNumber("Memories", "How many of them the model gets at most.", largest=50)] = 10
    scopes: Annotated[
        tuple[str, ...],
        Choices(
            "Scopes",
            "Where it looks: in this session, in what is remembered about the user, about the agent whoever asks, and "
            "in pools shared with other agents.",
            choices=MEMORY_SCOPES,
        ),
    ] = MEMORY_SCOPES


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfiguration:
    """Data only: no code, no dotted path, no template. One that `parse` made has the right types and bounds;
    `validate` also checks that a turn can run on it."""

    model_chain: Annotated[
        tuple[str, ...],
        RouteChain(
            "Models, in order",
            "One per line, as provider:model. The first one answers; when it cannot, the next one does. "
            "“offline:” is the built-in model, for trying things out.",
            section="What answers",
        ),
    ] = ()
    instructions: Annotated[
        str,
        Text(
            "Instructions",
            "Who the agent is and how it should answer. The model reads this before every message.",
            largest=100_000,
            section="What answers",
        ),
    ] = ""
    utility_models: Annotated[
        tuple[str, ...],
        RouteChain(
            "Models for side work, in order",
            "For titles, summaries and other work that nobody waits for: cheaper models, one per line. Empty: the last "
            "of the models above.",
            section="Side work",
            is_optional=True,
        ),
    ] = ()
    title_by_model: Annotated[
        bool,
        Switch(
            "Titles by a model",
            "After the first answer a model for side work names the conversation. Off: it is named by the beginning of "
            "its first message.",
            section="Side work",
        ),
    ] = False
    tools: Annotated[
        tuple[str, ...], ToolNames("Tools", "What the agent may do besides talking.", section="Tools")
    ] = ()
    tool_rights: Annotated[
        tuple[tuple[str, ToolRule], ...],
        ToolRights(
            "Rights of tools",
            "Which calls run, which need approval first, and which are refused. A tool without a rule runs.",
            section="Tools",
        ),
    ] = ()
    limits: Annotated[
        TurnLimits,
        Nested("Limits of a turn", "Bounds of one turn, so that none runs away. Empty: the default.", section="Limits"),
    ] = TurnLimits()
    context_policy: Annotated[
        ContextPolicy,
        Nested(
            "Context window",
            "What does not fit the window of the model stays in the conversation, but the model does not see it. "
            "Empty: the default.",
            section="What the model remembers",
        ),
    ] = ContextPolicy()
    fallbacks: Annotated[
        FallbackSettings,
        Nested(
            "When no model answers",
            "What people get instead when all models have failed or must not be asked. Empty: the error.",
            section="When no model answers",
        ),
    ] = FallbackSettings()
    memory: Annotated[
        MemoryPolicy,
        Nested(
            "Memory",
            "What the agent keeps from one conversation for the next. Off: each begins without any.",
            section="Memory",
        ),
    ] = MemoryPolicy()

    handoff: Annotated[
        HandoffSettings,
        Nested(
            "A person takes over",
            "When a person is asked to answer in place of the agent.",
            section="A person takes over",
        ),
    ] = HandoffSettings()

    @property
    def routes(self) -> tuple[str, ...]:
        """All routes that a turn may ask."""
        return (*self.model_chain, *self.fallbacks.simplified_models)

    def rule_of(self, tool: str) -> ToolRule | None:
        """The rule for calls of `tool`; None where all of them run."""
        return next((rule for name, rule in self.tool_rights if name == tool), None)

    @property
    def utility_chain(self) -> tuple[str, ...]:
        """The routes that are asked for side work. Where none are named, the last one that costs anything: the offline
        model, which stands behind others for the case that all fail, writes no summaries."""
        if self.utility_models:
            return self.utility_models
        return tuple(route for route in self.model_chain if not costs_nothing(route))[-1:] or self.model_chain[-1:]

    @classmethod
    def parse(cls, stored: Any) -> Self:
        """The configuration in a JSON object of this schema or an older one. `stored` is not changed.

        Raises `InvalidInput` with a pointer for an unknown name and for a value of another type or out of bounds, and
        `NewerConfiguration` for a schema that only a newer version knows.
        """
        return cls.from_values(_upgrade(stored))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """The configuration in JSON values of today's schema, without its number. Raises `InvalidInput` with a pointer
        for an unknown name and for a value of another type or out of bounds."""
        return cls(**_parse_members(values, SETTINGS, ""))

    def dump(self) -> Stored:
        """The JSON object that `parse` reads: equal configurations make equal ones."""
        return {"schema": _schema_number()} | {
            name: setting.dump(value)
            for name, setting in SETTINGS.items()
            if (value := getattr(self, name)) != setting.default
        }

    def validate(self, installed: Installed) -> None:
        """Raise `InvalidInput` with a pointer unless a turn can run on this configuration in this installation."""
        self.parse(self.dump())
        for name, setting in SETTINGS.items():
            setting.validate(getattr(self, name), f"/{name}", installed)
        if Fallback.CACHED_RESPONSE in self.fallbacks.order and self.memory.recall:
            # What is remembered changes, and is forgotten; an answer that was made of it must not come back.
            raise InvalidInput("cached_response is for agents that do not recall.", pointer="/fallbacks/order")


SETTINGS: Mapping[str, Setting] = declared_settings(AgentConfiguration)


def escape_pointer(name: Any) -> str:
    """`name` as a step of a JSON pointer."""
    return str(name).replace("~", "~0").replace("/", "~1")


def _schema_number() -> int:
    return len(UPGRADES) + 1


def _upgrade(stored: Any) -> Stored:
    """A stored object of any known schema, converted to the current one, without the schema number."""
    if not isinstance(stored, Mapping):
        raise InvalidInput("An object is expected.", pointer="")
    values = dict(stored)
    schema = values.pop("schema", None)
    if type(schema) is not int or schema < 1:
        raise InvalidInput("The number of a schema is expected.", pointer="/schema")
    if schema > _schema_number():
        raise NewerConfiguration(
            f"This configuration has schema {schema} and was written by a newer version of Bandstand; "
            f"this one reads schemas up to {_schema_number()}.",
            pointer="/schema",
        )
    for upgrade in UPGRADES[schema - 1 :]:
        values = upgrade(deepcopy(values))
    return values


def _parse_members(values: Mapping[str, Any], settings: Mapping[str, Setting], pointer: str) -> dict[str, Any]:
    for name in values:
        if name not in settings:
            known_names = ", ".join(sorted(settings))
            name_pointer = f"{pointer}/{escape_pointer(name)}"
            raise InvalidInput(f"Unknown name {name!r}; known are {known_names}.", pointer=name_pointer)
    return {name: settings[name].parse(value, f"{pointer}/{name}") for name, value in values.items()}
