"""An agent as one file, for people who keep agents in a repository: written in a stable order, read strictly.

The file is YAML, of which JSON is a part. It has the agent's details and a configuration, and no secrets: keys of
providers are settings of the installation, not of agents.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import yaml
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.actor import Actor
from agents.domain.configuration import AgentConfiguration
from agents.domain.states import WhenBusy
from agents.models import Agent, AgentDraft, Configuration
from agents.releases.agent_editing import change_agent, change_draft, create_agent
from foundation import strict_json
from foundation.errors import InvalidInput, Malformed, TooLarge

FORMAT: Final = "bandstand-agent/1"
MAX_BYTES: Final = 1024 * 1024
_DETAILS: Final[Mapping[str, type]] = {
    "slug": str,
    "name": str,
    "description": str,
    "capabilities": list,
    "when_busy": str,
    "moves_sessions": bool,
    "groups": list,
}
_EXPECTED: Final[Mapping[type, str]] = {str: "Text", list: "A list", bool: "true or false"}
_KEYS: Final = ("format", *_DETAILS, "configuration")


class ImportOutcome(StrEnum):
    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class AgentFile:
    """What a file says of an agent; `groups` by their names."""

    details: Mapping[str, Any]
    groups: tuple[str, ...]
    configuration: AgentConfiguration


def dump_agent(agent: Agent, source: Configuration, *, as_json: bool = False) -> str:
    """The file of an agent with the configuration of its draft or of one of its releases. Equal agents give equal
    files."""
    content = {
        "format": FORMAT,
        "slug": agent.slug,
        "name": agent.name,
        "description": agent.description,
        "capabilities": list(agent.capabilities),
        "when_busy": agent.when_busy,
        "moves_sessions": agent.moves_sessions,
        "groups": sorted(agent.groups.values_list("name", flat=True)),
        # Parsed first, so that what a release of an older schema says is written as of today.
        "configuration": AgentConfiguration.parse(source.configuration).dump(),
    }
    if as_json:
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def parse_agent_file(raw: bytes) -> AgentFile:
    """Read a file. Raises `TooLarge`, `Malformed`, `InvalidInput` with a pointer, `NewerConfiguration`."""
    content = _load(raw)
    if content.get("format") != FORMAT:
        raise InvalidInput(f"This version reads files of the format {FORMAT}.", pointer="/format")
    if unknown := sorted(content.keys() - set(_KEYS)):
        raise InvalidInput(f"A file of an agent has no {unknown[0]!r}.", pointer=f"/{unknown[0]}")
    for name in ("slug", "name", "configuration"):
        if not content.get(name):
            raise InvalidInput(f"A file of an agent has a {name}.", pointer=f"/{name}")
    details = {name: _check_detail(name, content[name]) for name in _DETAILS if name in content}
    groups = tuple(details.pop("groups", ()))
    try:
        Agent(**details).clean_fields()
    except ValidationError as error:
        name, messages = next(iter(error.message_dict.items()))
        raise InvalidInput(messages[0], pointer=f"/{name}") from None
    return AgentFile(details, groups, AgentConfiguration.parse(content["configuration"]))


def _load(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_BYTES:
        raise TooLarge(f"A file of an agent has at most {MAX_BYTES // 1024} KiB.")
    try:
        content = yaml.load(raw, Loader=_Loader)  # noqa: S506 - a safe loader, without aliases and repeated keys
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise Malformed(f"Not valid YAML{where}.") from None
    except (RecursionError, ValueError):
        raise Malformed("Not valid YAML.") from None
    # What YAML has and JSON has not (dates, sets, numbers without end) is refused, and so is what no row can hold.
    try:
        text = json.dumps(content, allow_nan=False)
    except (TypeError, ValueError):
        raise Malformed("The file has values that JSON does not have, such as a date: put them into quotes.") from None
    # Characters are escaped here: up to six bytes each.
    return strict_json.loads(text, max_bytes=6 * MAX_BYTES)


def _check_detail(name: str, value: Any) -> Any:
    kind: Any = _DETAILS[name]
    if not isinstance(value, kind):
        raise InvalidInput(f"{_EXPECTED[kind]} is expected.", pointer=f"/{name}")
    if isinstance(value, list) and not all(isinstance(word, str) for word in value):
        raise InvalidInput("A list of texts is expected.", pointer=f"/{name}")
    return value


@transaction.atomic
def import_agent(actor: Actor, file: AgentFile) -> tuple[Agent, ImportOutcome]:
    """Make the agent and its draft what the file says; nothing is published. What is so already is not written.

    Raises `Forbidden`, `InvalidInput` with a pointer, also for a group that is not here or when no turn could run on
    the configuration, and `PreconditionFailed` when somebody changes the agent at the same time.
    """
    groups = _find_groups(file.groups)
    agent = Agent.objects.filter(slug=file.details["slug"]).first()
    outcome = ImportOutcome.UNCHANGED
    if agent is None:
        details = {"description": "", "capabilities": [], "when_busy": WhenBusy.ENQUEUE.value, **file.details}
        agent = create_agent(actor, details=details, groups=groups, model_chain=file.configuration.model_chain)
        outcome = ImportOutcome.CREATED
    else:
        version = agent.version
        agent = change_agent(
            actor, agent_id=agent.pk, expected_version=version, details=dict(file.details), groups=groups
        )
        outcome = ImportOutcome.CHANGED if agent.version != version else outcome
    draft = AgentDraft.objects.get(agent=agent)
    changed = change_draft(actor, agent_id=agent.pk, expected_version=draft.version, configuration=file.configuration)
    if changed.version != draft.version and outcome is ImportOutcome.UNCHANGED:
        outcome = ImportOutcome.CHANGED
    return agent, outcome


def _find_groups(names: tuple[str, ...]) -> list[Group]:
    groups = {group.name: group for group in Group.objects.filter(name__in=names)}
    for index, name in enumerate(names):
        if name not in groups:
            # Without it the agent might be everybody's.
            raise InvalidInput(f"There is no group {name!r} here.", pointer=f"/groups/{index}")
    return list(groups.values())


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, so that a difference of two files is one of lines."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


class _Loader(yaml.SafeLoader):
    """Refuses aliases, with which a small file could mean an endless one, and keys that stand twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not read")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = list(_scalar_keys(node))
        if len(names) != len(set(names)):
            raise yaml.constructor.ConstructorError(None, None, "a key stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _scalar_keys(node: yaml.MappingNode) -> Iterator[str]:
    return (key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
