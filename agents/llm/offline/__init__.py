"""The offline model: no network, no chance, no thinking. A first run talks to it, and tests give it their script.

It streams, calls tools when it is asked to in plain words ("what time is it", "calculate 2+3*4", "fetch <address>",
"note …"), and says what it is. Its next words depend on the messages of the request and on nothing else, so a turn that
is recovered on another machine goes on as if nothing had happened.

Tests direct it from inside the user's message (the last one counts):

    [[offline text="Hello there." pace_ms=20]]         these words, one every 20 ms (`words=50` invents them)
    [[offline tool=clock args={"timezone": "UTC"}]]    one call, then the text; `parallel=2` calls it twice
    [[offline calls=[["clock", {}], ["x", "{bro"]]]]   several calls; arguments that are text go out as they are
    [[offline tool=clock args={} rounds=3]]            calls again until three answers with calls were given
    [[offline fail=transient]]                         fails with that error class; `cut=5` says five words before
    [[offline ttft_ms=50 finish=length usage=no retry_after=3 fail=rate_limit]]

It keeps to what a request asks for besides: texts that end the answer, a call that must be made, one call at a time,
an answer in JSON. Where thoughts would be needed it fills in plain examples that fit the schema.

`cut` alone breaks the answer off as a provider that goes away does. Without a pace everything comes at once.
"""

from agents.llm.offline.model import OfflineModel

__all__ = ["OfflineModel"]
