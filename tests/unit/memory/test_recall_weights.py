"""Weights of a search from the environment."""

import pytest

from memory.recall_weights import Weights, read_weights


def test_weights_are_read_and_the_others_keep_their_defaults() -> None:
    assert read_weights("words=0.5, date=0") == Weights(words=0.5, date=0.0)
    assert read_weights("") == Weights()


@pytest.mark.parametrize("value", ["words", "words=x", "word=1", "words=1,words=2", "date=-1", "date=nan", "date=11"])
def test_what_is_no_weight_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="must"):
        read_weights(value)
