"""A written or recorded request as the question that routing sees, so that every review asks the serving code itself."""

from __future__ import annotations

from gateway.configuration.schema_tests import Sample
from routing.match import Question
from routing.principal import Principal


def question_of(sample: Sample) -> Question:
    """The question that the data plane would make of such a request. Header names in lower case, as the edge hands them on."""
    caller = sample.principal
    return Question(
        Principal(caller.subject, caller.tenant, caller.tier, frozenset(caller.scopes)),
        {name.lower(): value for name, value in sample.headers.items()},
        sample.rows,
        sample.parameters,
        sample.version,
        sample.request_id,
        sample.priority,
        sample.bytes,
        sample.text_length,
    )
