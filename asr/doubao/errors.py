"""What can go wrong at Doubao, and what to do about it: a table, read by the client and by the manual.

Codes: https://www.volcengine.com/docs/6561/1354869 and what servers were seen to answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from core.errors import RecognizerError

NAME = "doubao"


class Action(StrEnum):
    """What the client does about a failure."""

    NO_SPEECH = "no speech"
    """Nothing was said: the turn ends with what is known."""
    RENUMBER = "renumber"
    """Our numbers and the server's differ: once more on a new connection, without numbers, audio replayed."""
    NEW_IDS = "new ids"
    """Once more with new request ids if the server calls the request a duplicate; else like `OPERATOR`."""
    RECONNECT = "reconnect"
    """A new connection, audio since the last finished sentence replayed."""
    ASK_AGAIN = "ask again"
    """The same, once; if that ends so too, what was recognised by then is the result."""
    BUSY = "busy"
    """The same after 0.5, 1, 2, 4 s."""
    INTERNAL = "internal"
    """The same after 0.5, 1, 2 s."""
    BACK_OFF = "back off"
    """The same after at least 2 s; three in a row open the circuit breaker."""
    OPERATOR = "operator"
    """A setting or a permission is wrong: no retry, the operator is told what to do."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row. `code` is the number or word of the failure; `advice` is for the operator and the page."""

    code: str
    action: Action
    meaning: str
    advice: str = ""

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later."""
        return self.action not in (Action.OPERATOR, Action.NEW_IDS, Action.RENUMBER, Action.NO_SPEECH)


_KEYS = "check app_key and access_key, or api_key, and that the path belongs to that kind of key"
_RESOURCE = "activate the service in Volcengine's console and check resource_id"
_RATE = "raise the quota in Volcengine's console, or use a .duration resource_id"

RULES = {
    rule.code: rule
    for rule in (
        Rule("20000003", Action.NO_SPEECH, "silent audio"),
        Rule("45000000", Action.RENUMBER, "the server can't decode a packet", "set sequence_mode to auto"),
        Rule("45000001", Action.NEW_IDS, "invalid, missing or duplicate parameter", "check the asr.doubao settings"),
        Rule("45000002", Action.NO_SPEECH, "empty audio"),
        Rule("45000010", Action.OPERATOR, "the key is not accepted", _KEYS),
        Rule("45000030", Action.OPERATOR, "the resource is not granted", _RESOURCE),
        Rule("45000081", Action.RECONNECT, "the server waited too long for audio", "check the microphone's connection"),
        Rule("45000131", Action.OPERATOR, "the quota of the file service is used up", _RATE),
        Rule("45000132", Action.OPERATOR, "the file is too large", "split it"),
        Rule("45000151", Action.OPERATOR, "the audio format is not accepted", "16 kHz 16-bit mono PCM is expected"),
        Rule("45000292", Action.BACK_OFF, "the quota is exceeded", _RATE),
        Rule("55000031", Action.BUSY, "the server is busy"),
    )
}
"""By code; `rule_for` adds the families."""

LOST = Rule("lost", Action.RECONNECT, "the connection broke off", "check the network")
UNREACHABLE = Rule("unreachable", Action.RECONNECT, "the server can't be reached", "check host and the network")
MALFORMED = Rule("malformed", Action.RECONNECT, "the server sent what is not its protocol", "check host and path")
CLOSED = Rule("closed", Action.ASK_AGAIN, "the server ended the session early")
CERTIFICATE = Rule(
    "certificate", Action.OPERATOR, "the server's certificate is not trusted", "check host and the clock"
)
PROXY = Rule("proxy", Action.OPERATOR, "the proxy can't be used", "check HTTPS_PROXY; for SOCKS install python-socks")
SILENT = Rule("silent", Action.ASK_AGAIN, "the server did not answer in time", "check the network")
REFUSED = Rule("refused", Action.OPERATOR, "the server refuses the connection", f"{_KEYS}; {_RESOURCE}")
CIRCUIT_OPEN = Rule("circuit_open", Action.BACK_OFF, "the quota was exceeded again and again", _RATE)


def rule_for(code: int) -> Rule:
    """The row of an error frame's code, else the default of its family: 20, 45 or 55 million."""
    if rule := RULES.get(str(code)):
        return rule
    family = code // 1_000_000
    if family == 20:
        return Rule(str(code), Action.NO_SPEECH, "a status")
    if family == 55:
        return Rule(str(code), Action.INTERNAL, "an error inside the server")
    return Rule(str(code), Action.OPERATOR, "the server refuses the request", "check the asr.doubao settings")


def rule_for_status(status: int) -> Rule:
    """The row of a refused WebSocket handshake."""
    if status == 429:
        return Rule("http_429", Action.BACK_OFF, "too many connections", _RATE)
    if status >= 500:
        return Rule(f"http_{status}", Action.BUSY, "the server is busy")
    advice = {400: f"{_RESOURCE}; {_KEYS}", 401: _KEYS, 403: f"{_RESOURCE}; {_KEYS}", 404: "check host and path"}
    return Rule(f"http_{status}", REFUSED.action, REFUSED.meaning, advice.get(status, REFUSED.advice))


class Failure(Exception):
    """A connection ended otherwise than it should. `detail` is for the log, with keys masked.

    `log_id`: what the vendor's support asks for, where the failure itself brought one.
    """

    def __init__(self, rule: Rule, detail: str = "", *, log_id: str = "") -> None:
        super().__init__(f"{rule.code}: {rule.meaning}" + (f" ({detail})" if detail else ""))
        self.rule = rule
        self.detail = detail
        self.log_id = log_id

    def error(self) -> RecognizerError:
        """What the turn fails with. Its message is fit for the page: nothing that the server wrote."""
        rule = self.rule
        message = f"Doubao speech recognition: {rule.meaning}" + (f"; {rule.advice}" if rule.advice else "")
        return RecognizerError(message, adapter=NAME, code=f"{NAME}_{rule.code}", retryable=rule.retryable)
