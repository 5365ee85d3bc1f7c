"""What the people and the agents of the demo say."""

from __future__ import annotations

SUBJECTS = (
    "the invoice of March", "my order", "the login page", "a broken printer", "our holiday plans", "the new contract",
    "a recipe for bread", "the train to Vienna", "my password", "the warehouse in Lyon", "an essay about rivers",
    "the quarterly report", "a late delivery", "the school timetable", "our backup job", "a noisy neighbour",
    "the customs form", "my insurance", "a Python script", "the coffee machine",
)  # fmt: skip
QUESTIONS = (
    "Can you help me with {}?",
    "What do I have to know about {}?",
    "Something is wrong with {}. Where do I begin?",
    "Write me three sentences about {}, please.",
    "Who decides about {}, and until when?",
    "Sum up what we said about {}.\nKeep it short.",
    "Is there a cheaper way to deal with {}?",
    "Explain {} to somebody who has never heard of it.",
)
ANSWERS = (
    "Here is what I found about {}:\n\n- it can be settled today,\n- nobody else has to agree,\n- it costs nothing.",
    "Let us take {} step by step. First say what you see; then we compare it with what you expected.",
    "In short: {} is in order. The last change was made yesterday and can be taken back until Friday.",
    "**{}** depends on two things, the date and the amount. Tell me both, and I can say more.",
    "I am not sure about {}. The page that I read says one thing, the form says another.",
    "You asked about {}.\n\n```\n1. open the form\n2. fill in the date\n3. send it\n```\n\nThat is all.",
)
ERRORS = (
    ("transient", "The model's server did not answer properly."),
    ("transient", "The model's server did not answer properly."),
    ("transient", "The model's server did not answer properly."),
    ("rate_limit", "The model's provider asks us to slow down."),
    ("rate_limit", "The model's provider asks us to slow down."),
    ("context_length", "The conversation is too long for the model."),
    ("content_filter", "The provider's filter stopped the answer."),
    ("auth", "The model's provider refused our key."),
    ("bad_request", "The model's provider did not understand our request."),
    ("limit_reached", "The turn used its 20 model calls."),
    ("worker_crashed", "The worker stopped several times while it worked on this message."),
    ("unknown", "Something went wrong on our side."),
)
