"""What may be spent in an hour, a day or a month, and what has been: reserved before it is spent, settled afterwards.

    left = sum - spent - held
    take:   held += what is granted, between the least that makes sense and the most that may be needed; or nothing is taken
    settle: held -= what was granted, spent += what was used

A grant is what is left, so whoever uses no more than was granted never spends more than the sum, however many do so at once. A
question whose price is known afterwards only is granted its bound, which it cannot exceed. Where less is left than that, though
as much as such questions usually cost, it is granted what is left if nobody else holds anything: so the rest is spent, too, by
one after the other, and only the last can use more than it was granted. Spent is never more than the sum and one bound.
Periods are the calendar's, in UTC: they begin for all at once, and what was left over is not carried on. What is reserved in one
is settled in the same, whenever that is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

Period = Literal["hour", "day", "month"]
Kind = Literal["cost", "escalations"]
PERIODS: tuple[Period, ...] = ("hour", "day", "month")
MOST = 65_536  # accounts: about 15 MB
LOOKS = 8
SLACK = 1e-9  # of a sum: sums of decimal prices are not exact in binary fractions
COME_BACK = 1.0  # seconds, where only what others have reserved makes room: nobody knows when


class Sum(msgspec.Struct, frozen=True):
    """So much in each period."""

    amount: float
    period: str


class Budget(msgspec.Struct, frozen=True):
    """What may be spent of `kind`: of cost, or of rows that cascades send up."""

    kind: Kind
    sum: Sum


class Want(msgspec.Struct, frozen=True, gc=False):
    """Between `least` and `most` of the account `key`, in which there is `amount` until the moment `ends` (seconds, Unix time).

    Beside others it is granted no less than `bound`: more than its grant it may then not use. A key says which budget, whose, and
    the period.
    """

    key: str
    least: float
    most: float
    amount: float
    ends: float
    bound: float = 0.0

    def part(self, parts: float) -> Want:
        """The same of one of so many parts of the budget."""
        return msgspec.structs.replace(self, amount=self.amount / parts)


class Account(msgspec.Struct, gc=False):
    """What is spent and reserved of one budget in one period."""

    spent: float
    held: float
    ends: float


class Grant(msgspec.Struct, frozen=True, gc=False):
    """What each want may spend, in order; or nothing, because the one at index `refused` did not fit.

    `left` of each, what was granted taken off. `spent`: the refused one's is spent, and not only reserved by others. `name`: by
    which those who share the accounts know it; "" where one process granted it to itself.
    """

    amounts: tuple[float, ...]
    left: tuple[float, ...]
    refused: int | None = None
    spent: bool = False
    name: str = ""


def granted(wants: Sequence[Want], accounts: Sequence[tuple[float, float]]) -> Grant:
    """The same of all who keep accounts; of each what is spent and what is held."""
    left = [max(0.0, want.amount - spent - held) for want, (spent, held) in zip(wants, accounts, strict=True)]
    short = [at for at, want in enumerate(wants) if not _fits(want, left[at], accounts[at][1])]
    if short:
        spent = [at for at in short if wants[at].amount - accounts[at][0] + SLACK * wants[at].amount < wants[at].least]
        refused = max(spent or short, key=lambda at: wants[at].ends)
        return Grant((), tuple(left), refused, bool(spent))
    amounts = tuple([max(want.least, min(want.most, each)) for want, each in zip(wants, left, strict=True)])
    return Grant(amounts, tuple([max(0.0, each - amount) for each, amount in zip(left, amounts, strict=True)]))


def _fits(want: Want, left: float, held: float) -> bool:
    slack = SLACK * want.amount
    return left + slack >= want.least and (left + slack >= want.bound or held <= slack)


def period_of(period: str, now: float) -> tuple[str, float]:
    """What the running hour, day or month is called, and when it ends; Unix time in seconds."""
    moment = datetime.fromtimestamp(now, UTC)
    match period:
        case "hour":
            begin = moment.replace(minute=0, second=0, microsecond=0)
            end = begin + timedelta(hours=1)
        case "day":
            begin = moment.replace(hour=0, minute=0, second=0, microsecond=0)
            end = begin + timedelta(days=1)
        case _:
            begin = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            end = (begin + timedelta(days=32)).replace(day=1)
    return begin.strftime("%Y%m%d%H"), end.timestamp()


class Accounts:
    """Every account in one process. Told the time. Of more than `most` those of periods that are over make room, or else the one
    unused for longest."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._accounts: OrderedDict[str, Account] = OrderedDict()

    def __len__(self) -> int:
        return len(self._accounts)

    def take(self, wants: Sequence[Want], now: float) -> Grant:
        """All of the wants, each at least with its least, or nothing. `now` in seconds, Unix time."""
        known = [self._accounts.get(want.key) for want in wants]
        grant = granted(wants, [(0.0, 0.0) if each is None else (each.spent, each.held) for each in known])
        for want, amount in zip(wants, grant.amounts, strict=False):
            self.account(want, now).held += amount
        return grant

    def settle(self, wants: Sequence[Want], grant: Grant, used: Sequence[float], now: float) -> None:
        """Of what was granted so much has been used, less or more."""
        for want, amount, spent in zip(wants, grant.amounts, used, strict=True):
            account = self.account(want, now)
            account.held = max(0.0, account.held - amount)
            account.spent += spent

    def account(self, want: Want, now: float) -> Account:
        """The want's own, made when first asked for."""
        found = self._accounts.get(want.key)
        if found is None:
            if len(self._accounts) >= self._most:
                self._forget(now)
            found = self._accounts[want.key] = Account(0.0, 0.0, want.ends)
        self._accounts.move_to_end(want.key)
        return found

    def _forget(self, now: float) -> None:
        oldest = [key for key, _ in zip(self._accounts, range(LOOKS), strict=False)]
        for key in [key for key in oldest if self._accounts[key].ends <= now] or oldest[:1]:
            del self._accounts[key]
