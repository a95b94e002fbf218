"""The states of a connection, and the only ways from one to another."""

from __future__ import annotations

import enum


class State(enum.Enum):
    """
    ========= ============================== =======================================================
    in        when                           then
    ========= ============================== =======================================================
    IDLE      a part of a head has come      HEAD
    IDLE      it is closed or waits too long CLOSED
    IDLE HEAD a head has come, and its body  ANSWERING
    IDLE HEAD a head has come, a body begins BODY
    IDLE HEAD it can't be served             LINGERING
    HEAD      end of input, or too slow      CLOSED
    BODY      the end of the body has come   ANSWERING
    BODY      it has been answered           UNREAD; LINGERING if much is left of the body
    BODY      it can't be read, or too slow  LINGERING
    BODY      end of input                   CLOSED
    ANSWERING it has been answered           IDLE; CLOSED to keep alive no more, LINGERING if bytes wait
    ANSWERING the application has failed     LINGERING
    UNREAD    the end of the body has come   IDLE
    UNREAD    it can't be read               LINGERING
    UNREAD    end of input, or too slow      CLOSED
    LINGERING end of input, or too long      CLOSED
    any       the connection is lost, or the
              client takes nothing           CLOSED
    ========= ============================== =======================================================

    Nothing else can happen: what is not in the table is an error.
    """

    then: tuple[State, ...]

    IDLE = "nothing of a request has arrived"
    HEAD = "a part of a head has"
    BODY = "a request is being answered while its body arrives"
    ANSWERING = "a request that has arrived whole is being answered; what follows it waits as it came"
    UNREAD = "a request has been answered, and the rest of its body is read and dropped"
    LINGERING = "all is said, and what still arrives is dropped, so that no reset takes the answer from the client"
    CLOSED = "nothing more is read, and what was written leaves"


State.IDLE.then = (State.HEAD, State.BODY, State.ANSWERING, State.LINGERING, State.CLOSED)
State.HEAD.then = (State.BODY, State.ANSWERING, State.LINGERING, State.CLOSED)
State.BODY.then = (State.ANSWERING, State.UNREAD, State.LINGERING, State.CLOSED)
State.ANSWERING.then = (State.IDLE, State.LINGERING, State.CLOSED)
State.UNREAD.then = (State.IDLE, State.LINGERING, State.CLOSED)
State.LINGERING.then = (State.CLOSED,)
State.CLOSED.then = ()
