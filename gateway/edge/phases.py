"""The course of one client connection, which is in one of five phases.

HEAD    idle, or part of a head has come      -> BODY, ANSWER, LINGER
BODY    collecting a body (or, after an early refusal, throwing it away)   -> ANSWER, HEAD, LINGER
ANSWER  the application is at work            -> HEAD, LINGER
LINGER  the last answer is written and our side shut; what still comes is thrown away, so that no reset overtakes
        the answer (RFC 9112 section 9.6)     -> GONE
GONE    the socket is lost
"""

from __future__ import annotations

from typing import Final

HEAD: Final = 0
BODY: Final = 1
ANSWER: Final = 2
LINGER: Final = 3
GONE: Final = 4
