"""What Redis itself does for budgets, in Lua, so that a look and what follows from it are one step for all gateways.

An account is a hash of what is `spent` and what is `held` of one budget in one period (routing/budgets.py has the rules), under
a name that has the period in it: no clock is asked, and two gateways whose clocks differ by a second keep two accounts for that
second, each with its own sum. Beside these it has every grant that is not settled, by its name: so a gateway that never heard
whether it was granted, or whether it has settled, settles again, and it is done once. It expires when the period has long been
over. What a gateway that was killed had reserved stays reserved until then: it may have been spent.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.store.scripts import PREFIX as LIMITS
from gateway.store.trouble import StoreError
from routing.budgets import SLACK, Grant, Want, granted

PREFIX = LIMITS + "spent:"
AFTER = 86_400.0  # seconds that an account is kept beyond its period: what was asked in it may end later

# KEYS: the accounts. ARGV: for each least, bound, most, amount, and how long to keep it (ms); then the grant's name.
# Answers spent and held of each, as they were; what fits is taken.
TAKE = f"""
local answer, grants, fits = {{}}, {{}}, true
for i = 1, #KEYS do
  local at = 5 * i - 4
  local least, bound = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local most, amount = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local found = redis.call('HMGET', KEYS[i], 'spent', 'held')
  local spent, held = tonumber(found[1] or 0), tonumber(found[2] or 0)
  local left = math.max(0, amount - spent - held)
  local slack = {SLACK!r} * amount
  fits = fits and left + slack >= least and (left + slack >= bound or held <= slack)
  grants[i] = math.max(least, math.min(most, left))
  answer[2 * i - 1], answer[2 * i] = string.format('%.17g', spent), string.format('%.17g', held)
end
if fits then
  for i = 1, #KEYS do
    local grant = string.format('%.17g', grants[i])
    redis.call('HSET', KEYS[i], 'held', string.format('%.17g', tonumber(answer[2 * i]) + grants[i]), ARGV[#ARGV], grant)
    redis.call('PEXPIRE', KEYS[i], ARGV[5 * i])
  end
end
return answer
"""

# KEYS: the accounts. ARGV: for each what was used, and how long to keep it (ms); then the grant's name, "" if it is not Redis's.
SETTLE = """
local name = ARGV[#ARGV]
for i = 1, #KEYS do
  local granted = name == '' and '0' or redis.call('HGET', KEYS[i], name)
  if granted then
    local found = redis.call('HMGET', KEYS[i], 'spent', 'held')
    local spent, held = tonumber(found[1] or 0) + ARGV[2 * i - 1], math.max(0, tonumber(found[2] or 0) - granted)
    redis.call('HSET', KEYS[i], 'spent', string.format('%.17g', spent), 'held', string.format('%.17g', held))
    redis.call('HDEL', KEYS[i], name)
    redis.call('PEXPIRE', KEYS[i], ARGV[2 * i])
  end
end
"""


def accounts(answer: object, wants: Sequence[Want]) -> list[tuple[float, float]]:
    """What TAKE answered: spent and held of each. Raises StoreError for anything else."""
    try:
        if not isinstance(answer, list) or len(answer) != 2 * len(wants):
            raise ValueError
        numbers = [float(each) for each in answer]
        if not all(0 <= each < float("inf") for each in numbers):
            raise ValueError
    except (TypeError, ValueError):
        raise StoreError("garbled", "it answers something else than was asked") from None
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def grant(answer: object, wants: Sequence[Want]) -> Grant:
    """What was taken: the same rules as the script's, in the same numbers."""
    return granted(wants, accounts(answer, wants))
