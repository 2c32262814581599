"""Who may write to whom and come into which room, and since when that is known."""

from __future__ import annotations

OPEN, FRIENDS, SCOPES = range(3)
POLICY_NUMBERS = {"open": OPEN, "friends": FRIENDS, "scopes": SCOPES}

CONNECT, MESSAGE = range(2)
CHECK_NUMBERS = {"connect": CONNECT, "message": MESSAGE}


def may_write(policy: int, rights_s: float, ended_s: float) -> bool:
    """Whether a user may write to another: rights known at ``rights_s`` still hold a tie that ended later.

    ``ended_s`` is infinite for a tie that lasts. Open access asks nobody.

    >>> may_write(SCOPES, 10.0, 20.0), may_write(SCOPES, 30.0, 20.0), may_write(OPEN, 30.0, 20.0)
    (True, False, True)
    """
    return policy == OPEN or rights_s < ended_s


def may_enter(policy: int, is_member: bool, knows_member: bool) -> bool:
    """Whether a user may come into a room: open lets in everybody, friends whoever knows a member, scopes members.

    >>> [may_enter(policy, False, True) for policy in (OPEN, FRIENDS, SCOPES)]
    [True, True, False]
    """
    if policy == OPEN:
        return True
    return is_member or (policy == FRIENDS and knows_member)


def asks_database(policy: int, check: int) -> bool:
    """Whether each message needs an answer of the database, unless one is remembered."""
    return policy == FRIENDS and check == MESSAGE


def renews_token(policy: int, check: int) -> bool:
    """Whether sessions present a new token when theirs is at its end: a check at connect is never made again."""
    return policy == SCOPES and check == MESSAGE


def remembered(asked_s: float, now_s: float, cache_s: float) -> bool:
    """Whether an answer of the database that was asked for at ``asked_s`` is still trusted.

    >>> remembered(10.0, 15.0, 5.0), remembered(10.0, 14.0, 5.0), remembered(10.0, 10.0, 0.0)
    (False, True, False)
    """
    return now_s < asked_s + cache_s
