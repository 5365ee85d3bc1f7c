"""What is remembered of the caller: list, add, correct, forget, search, export."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

import orjson
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from rest_framework.request import Request

from accounts.actor import Actor, Scope
from agents.domain.serialization import moment
from agents.models import Agent
from agents.permissions.agents import access_agent
from foundation.errors import Forbidden, InvalidInput, Unauthenticated
from memory.enums import MemoryScope, MemorySource, Tier, Trust
from memory.models import Memory
from memory.ownership import OwnerKey, find_owners
from memory.reading import access_memory, current, memories_of_user
from memory.recall import recall
from memory.writing import forget_all, forget_memory, remember, revise_memory
from rest.etags import etag, expected_version
from rest.idempotency import IdempotentOperation, run_once
from rest.pagination import Order, limit_parameter, paginate
from rest.query_params import choice_parameter, read_id, read_query, slug
from rest.request_body import read_body
from rest.responses import json_response, no_content
from rest.serializers import ChoiceField, Input, ObjectField, TextField, WholeNumberField, read_input
from rest.views import ApiView

MEMORIES = Order("memories", ("id",), descending=True)
MAX_RESULTS = 50
