"""The contract of the REST API as an OpenAPI schema (`/api/schema`, browsable at `/api/docs`).

Nothing here is imported before the schema is requested: views do not know it, and no process pays for it.

To declare a new endpoint:

1. In the module of its noun (`sessions.py`, `turns.py`, …) add a line to `OPERATIONS`: `(TheView, "get"): Operation(…)`
   with an id (`verb_noun`), a summary, a description, its responses with an example each, and its errors beyond the
   usual. 401, 403, 406, 422, 429, 500 and 503 are always there; 404 comes with a part of the path,
   400, 413 and 415 with `body`, 409 and Idempotency-Key with `idempotent=True`, 412, 428 and If-Match with
   `versioned=True`.
2. A new noun is a new module: register it in `agents.apps`. Shapes that occur twice are components: put them into
   `COMPONENTS` and name them by `ref("Name")`. The building blocks of shapes are in `rest.schema.json_schema`.
3. A new type of event is a line in `events.py`.

The tests then validate every response against what is declared here (`tests/support/declared.py`), strictly: a
field that is not declared fails. `tests/unit/rest/schema/test_generator.py` reports what is missing.
"""
