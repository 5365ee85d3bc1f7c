"""The offline model: deterministic, without network. A new installation uses it, and tests script its answers.

It streams, calls tools for a few fixed phrases ("what time is it", "calculate 2+3*4", "fetch <address>", "note …",
"remember that …", "forget …", "todo: …"), answers questions about the user ("where do I live") from what is recalled in
its prompt or by the tool, and otherwise says what it is. Its answer depends on the messages of the request only, so a
turn that is recovered on another machine continues unchanged.

Tests script it with a directive in the user's message (the last message counts):

    [[offline text="Hello there." pace_ms=20]]         these words, one every 20 ms (`words=50` invents them)
    [[offline reasoning="Hm." text="Hello."]]          reasoning before each text or call, in the same pace
    [[offline tool=clock args={"timezone": "UTC"}]]    one call, then the text; `parallel=2` calls it twice
    [[offline calls=[["clock", {}], ["x", "{bro"]]]]   several calls; arguments that are text go out as they are
    [[offline tool=clock args={} rounds=3]]            calls again until three answers with calls were given
    [[offline fail=transient]]                         fails with that error class; `cut=5` says five words before
    [[offline ttft_ms=50 finish=length usage=no retry_after=3 fail=rate_limit]]

It honours the options of a request: stop texts, forced calls, one call at a time, answers in JSON. Arguments and JSON
answers that a real model would make up are examples that fit the schema.

`cut` alone breaks the answer off as a lost connection does. Without a pace everything comes at once.
"""

from agents.llm.offline.model import OfflineModel

__all__ = ["OfflineModel"]
