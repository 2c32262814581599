"""Numbers for what is in the tables of a compiled run: kinds of events, jobs, queries and stations; work and fates."""

from __future__ import annotations

from chatsim.engine.outcome import Cause, Fate, FaultKind, IntrusionFate, PushFate, SessionFate, Work

GATEWAY_TIER, NODE_TIER, DATABASE_TIER = range(3)

(
    E_TRACE, E_LOGIN, E_CONNECTED, E_SHED, E_TIMES_OUT, E_LEAVE, E_GOODBYE, E_NOTICED, E_WELCOMED, E_TRIES, E_MESSAGE,
    E_UPLINK, E_TOLD, E_DELIVERED, E_PACKET, E_ARRIVES, E_ITEM_DONE, E_TICK_DONE, E_LEAVES_NOW, E_REFRESHES, E_REFRESH,
    E_EXPIRES, E_ASKS, E_ASKED, E_PUSHES, E_PUSH_DUE, E_PUSH_AGAIN, E_PUSH_ARRIVES, E_COMES_BACK,
    E_QUEUES, E_SENT,
    E_LOST, E_NOTICES, E_FINDS_NOBODY, E_REACHES_NOW, E_REACHES_LATER, E_REACHES, E_AT_NODE, E_TELLS_ALL,
    E_STRIKES, E_IS_OVER, E_BALANCER, E_BROKER_NOTICES, E_SILENT, E_DRAINS, E_DRAIN, E_DRAIN_STOPS, E_DRAIN_BACK,
    E_EMPTIES, E_EMPTIED,
    E_SENDS, E_WAKES, E_ACKS, E_ACKED, E_WATCHES, E_LOOKS, E_COMES, E_HAS_COME, E_GOES, E_HAS_GONE,
) = range(60)  # fmt: skip

(
    J_LOGIN, J_CLOSE, J_RECEIVE, J_STORE_AFTER, J_QUERY, J_REPLY, J_STORED, J_SYNCED, J_LOOKED_UP, J_REFRESH, J_ASKED,
    J_ANSWERED, J_NOTIFY, J_SUBSCRIBE, J_UPDATE, J_SIGN_IN, J_SIGN_OUT, J_WRITE_KEY, J_STATE, J_PUBLISH, J_FAN_OUT,
    J_LOOK_UP, J_STORE, J_SYNC, J_REACH, J_RESUBSCRIBE, J_REACHED, J_REGISTER,
    J_ACK,
) = range(29)  # fmt: skip

E_RECEIPT, E_RECEIPT_UP, E_IDLES, E_IDLE, E_TIE_ENDS, E_INTRUDES, E_INTRUDER_UP, E_RENEWS, E_RENEW = range(100, 109)
E_SEARCH_UP, E_SEARCHED, E_ANNOUNCES = range(109, 112)
(
    J_RECEIPT, J_ANNOUNCED, J_ANNOUNCE, J_TELL, J_REQUEST, J_COUNT, J_RELATION, J_REFUSE, J_JOIN, J_SAY_NO, J_TOKEN,
    J_SEARCH, J_FOUND,
) = range(100, 113)  # fmt: skip
"""Of the chat logic that a design need not have: beyond all others."""

Q_SUBSCRIBED, Q_LOADED, Q_RELATION, Q_ENTERED, Q_FOUNDED, Q_MEMBERS, Q_INTRUDES, Q_INSIDE, Q_TOLD, Q_DEAD = range(10)
"""How a story goes on when a query is answered; ``Q_DEAD``: not at all, since one of the replies never came."""

PENDING, READ, FAILED = range(3)
"""What became of a reply."""

NO_TOUCH, TOUCH_ONE, TOUCH_BROKER, TOUCH_SENDER, TOUCH_COMMANDS, TOUCH_SUBSCRIBERS, TOUCH_TARGETS = range(7)
"""What connections a job writes to."""

STORE_BEFORE, STORE_BESIDE, STORE_AFTER, STORE_NEVER = range(4)
STORE_NUMBERS = {"before": STORE_BEFORE, "beside": STORE_BESIDE, "after": STORE_AFTER, "never": STORE_NEVER}

(
    RECEIVE, COMMAND, PARSE, WRITE, LOGIN, CLOSE, DISCARD, PUBLISH, PUSH, BUS, SUBSCRIBE, LOOKUP, UPDATE, STORE,
    RECOVER, REFUSAL,
    RELATION, TOKEN, JOIN, LIST, STATE_READ, SEARCH, MEMBERS, PRESENCE, ASKED, NOTICE, NOTICE_PUBLISH,
    NOTICE_PUSH, NOTICE_BUS, RECEIPT, NOTIFY, ACK,
) = (int(work) for work in Work)  # fmt: skip

DELIVERED, READ_LATER, LOST, REFUSED, IN_FLIGHT, DUPLICATE, ABANDONED = (
    int(fate)
    for fate in (
        Fate.DELIVERED, Fate.READ_LATER, Fate.LOST, Fate.REFUSED, Fate.IN_FLIGHT, Fate.DUPLICATE, Fate.ABANDONED,
    )
)  # fmt: skip
(
    NO_CAUSE, LEFT, OUTBOUND_FULL, NO_SESSION, TOO_MANY, TOO_LARGE, NOT_BUFFERED, FORBIDDEN, TRIMMED, CRASHED,
    BROKER_DOWN, CUT_OFF, UNAVAILABLE, GAVE_UP,
) = (
    int(cause)
    for cause in (
        Cause.NONE, Cause.LEFT, Cause.OUTBOUND_FULL, Cause.NO_SESSION, Cause.TOO_MANY, Cause.TOO_LARGE,
        Cause.NOT_BUFFERED, Cause.FORBIDDEN, Cause.TRIMMED, Cause.CRASHED, Cause.BROKER_DOWN, Cause.CUT_OFF,
        Cause.UNAVAILABLE, Cause.GAVE_UP,
    )
)  # fmt: skip
S_ONLINE, S_LEFT, S_CLOSED, S_ABANDONED, S_REFUSED, S_CONNECTING, S_FAILED, S_CUT = (
    int(fate)
    for fate in (
        SessionFate.ONLINE, SessionFate.LEFT, SessionFate.CLOSED, SessionFate.ABANDONED, SessionFate.REFUSED,
        SessionFate.CONNECTING, SessionFate.FAILED, SessionFate.CUT,
    )
)  # fmt: skip
(
    F_CRASH, F_DRAIN, F_BROKER, F_DATABASE, F_PARTITION, F_SLOW, F_LINK, F_CACHE, F_SLOW_CLIENTS, F_SCALING,
) = (int(kind) for kind in FaultKind)  # fmt: skip
P_UNDER_WAY, P_IGNORED, P_BROUGHT_BACK, P_WASTED = (int(fate) for fate in PushFate)
I_UNDER_WAY, I_REFUSED, I_ENTERED, I_NO_SESSION, I_NO_ROOM = (int(fate) for fate in IntrusionFate)
INTRUDERS = -2
"""Who waits for a connection: messages by their number, intruders by this one less theirs."""
