"""The benchmark LoCoMo: turns of long conversations, and questions with the turns that hold their evidence.

Scored as in the paper (table 3): the recall at k of a question is the share of its evidence turns among the first k
turns that were retrieved; four questions without evidence count as 1, and malformed ids of evidence as missed.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any, Final

CATEGORIES: Final = {4: "single", 1: "multi", 2: "temporal", 3: "open", 5: "adversarial"}
CUTS: Final = (5, 10, 25, 50)


@dataclass(frozen=True, slots=True)
class Utterance:
    """One turn of a conversation. `id` is unique in the file, `dialogue` the number of its session."""

    id: str
    conversation: str
    dialogue: int
    position: int
    speaker: str
    said_at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    conversation: str
    text: str
    category: str
    evidence: tuple[str, ...]


def load(path: Path) -> tuple[list[Utterance], list[Question]]:
    """All turns and all questions of a file."""
    utterances: list[Utterance] = []
    questions: list[Question] = []
    for sample in json.loads(path.read_text(encoding="utf-8")):
        name = sample["sample_id"]
        utterances += _utterances(name, sample["conversation"])
        questions += [
            Question(name, row["question"], CATEGORIES[row["category"]], tuple(f"{name}/{e}" for e in row["evidence"]))
            for row in sample["qa"]
        ]
    return utterances, questions


def _utterances(name: str, conversation: Mapping[str, Any]) -> Iterator[Utterance]:
    position = 0
    numbers = sorted(int(match[1]) for key in conversation if (match := re.fullmatch(r"session_(\d+)", key)))
    for number in numbers:
        moment = datetime.strptime(conversation[f"session_{number}_date_time"], "%I:%M %p on %d %B, %Y")
        for row in conversation[f"session_{number}"]:
            caption = row.get("blip_caption") or ""
            text = row["text"] + (f" [shares {caption}]" if caption else "")
            said_at = moment.replace(tzinfo=UTC)
            yield Utterance(f"{name}/{row['dia_id']}", name, number, position, row["speaker"], said_at, text)
            position += 1


@dataclass(frozen=True, slots=True)
class Score:
    """Means in percent: `recall` by (k, category), the reciprocal rank of the first evidence by category."""

    recall: Mapping[tuple[int, str], float]
    reciprocal_rank: Mapping[str, float]

    def line(self) -> str:
        """R@5, R@10, R@25, R@50 and MRR over all questions, and R@10 of each category."""
        cuts = " ".join(f"{self.recall[k, 'all']:5.1f}" for k in CUTS)
        parts = ", ".join(
            f"{name} {self.recall[10, name]:.1f}" for name in CATEGORIES.values() if (10, name) in self.recall
        )
        return f"{cuts}   .{self.reciprocal_rank['all'] * 10:03.0f}   {parts}"


def score(questions: Sequence[Question], retrieved: Sequence[Sequence[str]]) -> Score:
    """`retrieved` are the ids of turns for each question, best first."""
    recalls: dict[tuple[int, str], list[float]] = defaultdict(list)
    ranks: dict[str, list[float]] = defaultdict(list)
    for question, ids in zip(questions, retrieved, strict=True):
        for group in ("all", question.category):
            for k in CUTS:
                top = set(ids[:k])
                hits = [item in top for item in question.evidence]
                recalls[k, group].append(fmean(hits) if hits else 1.0)
            if question.evidence:
                places = [ids.index(item) + 1 for item in set(question.evidence) if item in ids]
                ranks[group].append(1 / min(places) if places else 0.0)
    return Score(
        {key: 100 * fmean(values) for key, values in recalls.items()},
        {group: 100 * fmean(values) for group, values in ranks.items()},
    )
