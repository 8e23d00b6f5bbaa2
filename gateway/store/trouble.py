"""Says what is wrong with the store and what to do about it: a bounded word for the metric, a sentence for the log."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping

ADVICE: Mapping[str, str] = {
    "unreachable": "is the server running, and does `store` in gateway.yaml name it?",
    "tls": "is it a TLS port, is its certificate for this name, and does redis.ca_file name who signed it?",
    "late": "is the server hung, overloaded or far away?",
    "closed": "the server's own log says why",
    "garbled": "is it a Redis server that answers there?",
    "password": "check the user in `store`, redis.password_file or PENSTOCK_REDIS_PASSWORD",
    "permission": "docs/operate.md has the rights that the user needs",
    "read-only": "it is a replica: name the primary in `store`",
    "replicas": "too few replicas are in touch with it: see its min-replicas-to-write",
    "clients": "it has too many connections: raise its maxclients, or find who keeps so many",
    "database": "it has no database of the number in `store`",
    "protected": "it takes connections from its own machine only: give it a password, or an address to bind to",
    "full": "raise maxmemory, or set maxmemory-policy to volatile-ttl: every key here has an expiry",
    "disk": "its disk is full or its snapshots fail: see its log",
    "loading": "it is reading its data: this ends by itself",
    "busy": "another script holds it: see SCRIPT KILL",
    "cluster": "a cluster is not supported: name a single server",
    "forgotten": "was it restarted, or were its keys or scripts deleted?",
    "refused": "the server's version must be 5 or later",
}
_WORDS: Mapping[str, str] = {
    "NOAUTH": "password",
    "WRONGPASS": "password",
    "NOPERM": "permission",
    "READONLY": "read-only",
    "MASTERDOWN": "read-only",
    "NOREPLICAS": "replicas",
    "DENIED": "protected",
    "NOSCRIPT": "forgotten",
    "OOM": "full",
    "MISCONF": "disk",
    "LOADING": "loading",
    "BUSY": "busy",
    "MOVED": "cluster",
    "ASK": "cluster",
    "CLUSTERDOWN": "cluster",
    "CROSSSLOT": "cluster",
}
_SENTENCES: Mapping[str, str] = {"max number of clients": "clients", "DB index is out of range": "database"}  # behind "ERR"
_INNER = re.compile(rf" -({'|'.join(_WORDS)}) ")


class StoreError(Exception):
    """The store did not do what it was asked. `reason` is a word of ADVICE; the text never has a secret or a key."""

    def __init__(self, reason: str, says: str) -> None:
        super().__init__(f"{says}; {ADVICE[reason]}")
        self.reason = reason


def refused(reply: str) -> StoreError:
    """What an error that Redis answered means. Redis repeats what it was given in places: its first word is all that is told."""
    word = reply.partition(" ")[0].strip(":-")
    if inner := _INNER.search(reply):  # Redis 6 puts what a script ran into behind "ERR Error running script …: -"
        word = inner[1]
    elif "AUTH" in reply and "password" in reply:  # "ERR AUTH <password> called without any password configured"
        word = "WRONGPASS"
    elif "can't run this command" in reply:  # "ERR The user executing the script …"
        word = "NOPERM"
    known = word.isascii() and word.isalpha() and word.isupper()
    reason = next((reason for sentence, reason in _SENTENCES.items() if sentence in reply), _WORDS.get(word, "refused"))
    return StoreError(reason, f"it answers {word[:32]}" if known else "it answers with an error")


def unreachable(error: OSError | UnicodeError) -> StoreError:
    """Why there is no connection."""
    if isinstance(error, TimeoutError):
        return StoreError("unreachable", "no connection in time")
    if isinstance(error, ssl.SSLError):
        why = getattr(error, "verify_message", "") or getattr(error, "reason", "") or "broken off"
        return StoreError("tls", f"no TLS connection ({why})")
    return StoreError("unreachable", f"no connection ({getattr(error, 'strerror', None) or type(error).__name__})")
