"""The texts of the users and the agents of the demo."""

from __future__ import annotations

from agents.domain.failures import ErrorClass

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
# Of ratings, by whether they are good.
COMMENTS = {
    True: ("Just what I needed.", "Quick and right.", "Thank you!"),
    False: ("That is not what I asked.", "The date is wrong.", "Too long, and nothing in it."),
}
# Each as often as it stands here, among the turns that fail.
ERRORS = (
    *[ErrorClass.TRANSIENT] * 3,
    *[ErrorClass.RATE_LIMIT] * 2,
    ErrorClass.CONTEXT_LENGTH,
    ErrorClass.CONTENT_FILTER,
    ErrorClass.AUTH,
    ErrorClass.BAD_REQUEST,
    ErrorClass.LIMIT_REACHED,
    ErrorClass.WORKER_CRASHED,
    ErrorClass.UNKNOWN,
)
