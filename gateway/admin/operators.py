"""Says whether a request to the admin API comes from an operator: whose key or token has the scope models:admin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from backends.errors import ErrorKind, InferenceError
from gateway.auth.authenticator import Authenticator
from routing.principal import ANONYMOUS

SCOPE = "models:admin"
CREDENTIALS = ("authorization", "x-api-key")
_STATUS = {ErrorKind.INVALID: 400, ErrorKind.LIMITED: 429, ErrorKind.UNAVAILABLE: 503}


class Clearance(msgspec.Struct, frozen=True, omit_defaults=True):
    """`status` 200 and whose credential it is; else the status to answer with, and what to do about it."""

    status: int
    subject: str = ""
    error: str = ""


STOPPING = Clearance(503, error="the gateway is stopping")


def shown(headers: Mapping[str, Sequence[str]]) -> dict[str, str] | None:
    """The credentials of a request, whose header names are in lower case; None if one comes twice."""
    found = {name: headers[name] for name in CREDENTIALS if name in headers}
    return None if any(len(values) > 1 for values in found.values()) else {name: values[0] for name, values in found.items()}


async def judge(authenticator: Authenticator, credentials: Mapping[str, str], now_wall: float) -> Clearance:
    """Whether an operator shows these at this wall time in seconds; waits for an issuer's keys if it must."""
    try:
        principal = await authenticator.authenticate(credentials, now_wall)
    except InferenceError as error:
        return Clearance(_STATUS.get(error.kind, 401), error=error.message)
    if principal is ANONYMOUS:
        return Clearance(401, error=f"send a credential with the scope {SCOPE}: Authorization: Bearer <JWT>, or X-API-Key")
    if SCOPE not in principal.scopes:
        return Clearance(403, error=f"your credential has not the scope {SCOPE}, which every /api call needs")
    return Clearance(200, principal.subject)
