"""Judges a gateway document that could be read: can anybody get in, and does everything fit together?"""

from __future__ import annotations

import sys

from gateway.configuration.decode import Findings
from gateway.configuration.problems import shown
from gateway.configuration.schema_gateway import MEMORY, Auth, GatewayDocument, Redis


def check_gateway(found: Findings, document: GatewayDocument) -> None:
    """Notes in `found` whatever makes no sense."""
    listeners = {"http": document.listen.http, "grpc": document.listen.grpc, "admin": document.listen.admin}
    taken: dict[int, str] = {}
    for name, address in listeners.items():
        if address.port and address.port in taken:
            found.wrong(("listen", name), f"port {address.port} is taken by {taken[address.port]} already")
        taken.setdefault(address.port, name)
    if document.workers > 1 and sys.platform != "linux":
        found.wrong(("workers",), "several workers need Linux, which deals connections out among them", "1")
    _check_store(found, document)
    _check_auth(found, document.auth)


def _check_store(found: Findings, document: GatewayDocument) -> None:
    if document.store == MEMORY and document.redis != Redis():
        found.wrong(("redis",), "nobody would look at it: store is memory, not redis://host:6379")
    elif document.redis.ca_file is not None and not document.store.startswith("rediss://"):
        found.wrong(("redis", "ca_file"), "there is no certificate to check without TLS; write store: rediss://…")


def _check_auth(found: Findings, auth: Auth) -> None:
    issuers = [each.issuer for each in auth.jwt]
    for index, issuer in enumerate(issuers):
        if issuer in issuers[:index]:
            found.wrong(("auth", "jwt", index, "issuer"), f"{shown(issuer)} stands here twice; which keys would hold?")
        if len(set(auth.jwt[index].algorithms)) != len(auth.jwt[index].algorithms):
            found.wrong(("auth", "jwt", index, "algorithms"), "an algorithm stands here twice")
    if not auth.jwt and auth.api_keys is None and not auth.anonymous:
        found.wrong(("auth",), "nobody could ever get in: give jwt or api_keys, or set anonymous to true")
