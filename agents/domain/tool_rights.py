"""Rights of tools: whether a call of a model runs, waits for a person, or is refused.

Decided by the release, the call and the sources of its prompt, never by what a text says. A model mixes all that it
reads, so an argument counts as coming from every source with low trust in the prompt, unless its value stands word for
word in the person's own messages or in the release, or is one of a closed list in the tool's schema.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from agents.domain.argument_schemas import MAX_VALUES, argument_path, argument_problems, count_values
from agents.domain.prompt_sources import PromptSource
from agents.domain.tool_rules import ToolRight, ToolRule
from agents.domain.verbatim_values import VerbatimTexts
from foundation import strict_json
from foundation.errors import BandstandError, Malformed

# Of one decision, as it is stored.
_MAX_REASONS: Final = 8
_MAX_REASON_CHARACTERS: Final = 300
# How deep a tool's schema is followed, whose types may contain themselves.
_MAX_REFERENCES: Final = 8


@dataclass(frozen=True, slots=True)
class RightReason:
    """Why a call is not simply run: the rule as a word, and as people read it. `argument` is the place of the value
    that is the reason; "" for the call as a whole."""

    code: str
    text: str
    argument: str = ""

    @property
    def stored(self) -> dict[str, str]:
        """The reason as JSON."""
        shape = {"code": self.code, "text": self.text}
        return shape | {"argument": self.argument} if self.argument else shape


@dataclass(frozen=True, slots=True)
class RightDecision:
    """What happens to a call, and why, if it is not simply run. `arguments` are the canonical ones, the only ones that
    may run; "" where they are no JSON. `values` is how many keys and values they have."""

    decision: ToolRight
    reasons: tuple[RightReason, ...] = ()
    arguments: str = ""
    values: int = 0

    @property
    def stored(self) -> dict[str, Any]:
        """The decision as the details of a step have it."""
        return {"decision": self.decision.value, "reasons": [reason.stored for reason in self.reasons]}


NO_ARGUMENTS: Final = "{}"
_STRICTNESS: Final = {ToolRight.ALLOW: 0, ToolRight.ASK: 1, ToolRight.DENY: 2}


def canonical_arguments(text: str) -> str:
    """The one JSON text for the arguments in a model's `text`: keys in order, no spaces. Raises `InvalidInput` or
    another error of `foundation.strict_json` unless it is one strict JSON object: no key twice, no NaN, nothing that
    cannot be stored."""
    arguments = strict_json.loads(NO_ARGUMENTS if text.strip() in ("", "null") else text)
    strict_json.check_storable(arguments)
    canonical = strict_json.canonical(arguments).decode()
    if strict_json.loads(canonical) != arguments:
        raise Malformed("These arguments have no canonical form.")
    return canonical


def hash_arguments(canonical: str) -> str:
    """The SHA-256 of canonical arguments, as hexadecimal digits."""
    return hashlib.sha256(canonical.encode()).hexdigest()


def judge_call(
    rule: ToolRule,
    arguments_text: str,
    low_trust: Sequence[PromptSource],
    trusted_texts: VerbatimTexts,
    *,
    tool_schema: Mapping[str, Any],
    max_values: int = MAX_VALUES,
) -> RightDecision:
    """What happens to a call with these arguments, JSON text as a model wrote it.

    `low_trust` are the sources with low trust in the prompt of the step that made the call, `trusted_texts` are the
    texts of the release and of the person, `tool_schema` is the JSON schema of the tool's arguments. The strictest of
    all that applies counts. Arguments with more than `max_values` keys and values fit no schema and are not trusted.
    """
    try:
        canonical = canonical_arguments(arguments_text)
    except BandstandError as error:
        detail = error.detail[0].lower() + error.detail[1:].rstrip(".")
        return RightDecision(
            ToolRight.DENY, (RightReason("malformed", f"the arguments are no strict JSON object: {detail}"),)
        )
    arguments = strict_json.loads(canonical)
    judged = [
        *_judge_right(rule),
        *_judge_schema(rule, arguments, max_values),
        *_judge_sources(rule, arguments, low_trust, trusted_texts, tool_schema=tool_schema, max_values=max_values),
    ]
    decision = max((right for right, _ in judged), key=_STRICTNESS.__getitem__, default=ToolRight.ALLOW)
    reasons = [_shorten(reason) for right, reason in judged if right is decision]
    return RightDecision(decision, tuple(reasons[:_MAX_REASONS]), canonical, count_values(arguments))


def _judge_right(rule: ToolRule) -> Iterator[tuple[ToolRight, RightReason]]:
    if rule.right is ToolRight.DENY:
        yield rule.right, RightReason("denied", "this agent may not use this tool")
    elif rule.right is ToolRight.ASK:
        yield rule.right, RightReason("asks", "this agent asks before every call of this tool")


def _judge_schema(
    rule: ToolRule, arguments: Mapping[str, Any], max_values: int
) -> Iterator[tuple[ToolRight, RightReason]]:
    if rule.schema is not None:
        for problem in argument_problems(rule.schema, arguments, max_values=max_values):
            yield rule.otherwise.right, RightReason("schema", problem)


def _judge_sources(
    rule: ToolRule,
    arguments: Mapping[str, Any],
    low_trust: Sequence[PromptSource],
    texts: VerbatimTexts,
    *,
    tool_schema: Mapping[str, Any],
    max_values: int,
) -> Iterator[tuple[ToolRight, RightReason]]:
    if not low_trust or not rule.checks_sources:
        return
    where = _join([source.text for source in low_trust])
    if count_values(arguments) > max_values:
        strictest = max(map(rule.untrusted_right, arguments), key=_STRICTNESS.__getitem__)
        yield (
            strictest,
            RightReason("too_many", f"there are more values than can be judged, and they may come from {where}"),
        )
        return
    schemas = _Schemas([tool_schema, *([rule.schema] if rule.schema is not None else [])])
    for name, item in arguments.items():
        right = rule.untrusted_right(name)
        if right is ToolRight.ALLOW:
            continue
        for path in _untrusted_values({name: item}, schemas, texts):
            argument = argument_path(path)
            yield right, RightReason("untrusted", f"`{argument}` may come from {where}", argument)


def _untrusted_values(
    arguments: Mapping[str, Any], schemas: _Schemas, texts: VerbatimTexts
) -> Iterator[tuple[str | int, ...]]:
    """The places of values, and of keys that the schemas do not name, that stand in none of the texts."""
    stack: list[tuple[tuple[str | int, ...], Any, list[Mapping[str, Any]]]] = [((), arguments, schemas.roots)]
    while stack:
        path, item, candidates = stack.pop()
        if isinstance(item, dict):
            for key, value in item.items():
                if not schemas.have_property(candidates, key) and not texts.contain(key):
                    yield (*path, key)
                stack.append(((*path, key), value, schemas.property_schemas(candidates, key)))
        elif isinstance(item, list):
            for index, value in enumerate(item):
                stack.append(((*path, index), value, schemas.item_schemas(candidates, index)))
        elif not schemas.list_value(candidates, item) and not texts.contain(item):
            yield path


class _Schemas:
    """Schemas of one object, followed to the values in it: which values they list, which keys they name."""

    def __init__(self, roots: Sequence[Mapping[str, Any]]) -> None:
        self._definitions = {name: item for root in roots for name, item in root.get("$defs", {}).items()}
        self.roots = list(self._expand(roots))

    def _expand(self, schemas: Iterable[Any], depth: int = _MAX_REFERENCES) -> Iterator[Mapping[str, Any]]:
        """These schemas and the alternatives in them, without references."""
        if not depth:
            return
        for schema in schemas:
            if not isinstance(schema, Mapping):
                continue
            yield schema
            reference = schema.get("$ref")
            if isinstance(reference, str) and reference.startswith("#/$defs/"):
                yield from self._expand([self._definitions.get(reference.removeprefix("#/$defs/"))], depth - 1)
            for keyword in ("anyOf", "oneOf", "allOf"):
                yield from self._expand(schema.get(keyword, ()), depth - 1)

    def have_property(self, schemas: Sequence[Mapping[str, Any]], key: str) -> bool:
        """Whether one of `schemas` names this key."""
        return any(key in schema.get("properties", {}) for schema in schemas)

    def property_schemas(self, schemas: Sequence[Mapping[str, Any]], key: str) -> list[Mapping[str, Any]]:
        """The schemas of the value of this key."""
        inner = [schema.get("properties", {}).get(key, schema.get("additionalProperties")) for schema in schemas]
        return list(self._expand(inner))

    def item_schemas(self, schemas: Sequence[Mapping[str, Any]], index: int) -> list[Mapping[str, Any]]:
        """The schemas of the item of a list at `index`."""
        first = [schema.get("prefixItems", ())[index : index + 1] for schema in schemas]
        return list(self._expand([one for items in first for one in items] or [s.get("items") for s in schemas]))

    def list_value(self, schemas: Sequence[Mapping[str, Any]], value: Any) -> bool:
        """Whether `value` is one of a closed list: of an enum, a constant, the default, a boolean or null."""
        return any(_lists(schema, value) for schema in schemas)


def _lists(schema: Mapping[str, Any], value: Any) -> bool:
    if value is None or isinstance(value, bool):
        types = schema.get("type", ())
        if ("null" if value is None else "boolean") in ([types] if isinstance(types, str) else types):
            return True
    listed = [*schema.get("enum", ()), *(schema[name] for name in ("const", "default") if name in schema)]
    return any(type(one) is type(value) and one == value for one in listed)


def refusal_text(stored: Mapping[str, Any]) -> str:
    """What the model reads in place of a result of a call with this stored decision, which is not run."""
    reasons = "; ".join(str(reason.get("text", "")) for reason in stored.get("reasons", ())) or "nobody has allowed it"
    if stored.get("decision") == ToolRight.ASK:
        return f"This call was not run. It needs a person's approval, because {reasons}."
    return f"This call was refused and not run, because {reasons}."


def _join(texts: Sequence[str]) -> str:
    """`texts` as a list in a sentence, a few of them."""
    if len(texts) > 4:
        texts = [*texts[:3], f"{len(texts) - 3} other sources"]
    return f"{', '.join(texts[:-1])} or {texts[-1]}" if len(texts) > 1 else texts[0]


def _shorten(reason: RightReason) -> RightReason:
    if len(reason.text) <= _MAX_REASON_CHARACTERS:
        return reason
    return replace(reason, text=f"{reason.text[: _MAX_REASON_CHARACTERS - 1]}…")


def describe_decision(stored: Mapping[str, Any], *, with_reasons: bool = True) -> str:
    """A stored decision as a sentence; "" for a call that was simply run. The reasons name arguments, and a model may
    have written their names: `with_reasons` is for those who may read the conversation."""
    reasons = "; ".join(str(reason.get("text", "")) for reason in stored.get("reasons", ())) if with_reasons else ""
    because = f", because {reasons}" if reasons else " by the rights of tools"
    match stored.get("decision"):
        case ToolRight.ASK if stored.get("pass"):
            return f"Run without asking by a pass; else asked first{because}."
        case ToolRight.ASK:
            return f"Asked first{because}."
        case ToolRight.DENY:
            return f"Refused{because}."
    return ""


def hide_reasons(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored decision for those who may not read the conversation: the rules that applied, and no names."""
    codes = [{"code": reason.get("code", "")} for reason in stored.get("reasons", ())]
    return {**stored, "reasons": codes}
