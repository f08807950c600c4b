"""The errors that packages share, told apart by whose fault they are.

VoiceEdgeError
├── CallerError              the client asked for something that cannot be done; the session goes on
│   ├── InvalidRequest       malformed JSON, unknown type, a field that does not fit
│   ├── InvalidTool          a function whose schema answers cannot be held to
│   ├── Refused              well-formed, but not now or not here (carries a protocol code)
│   ├── Unauthorised         no key, or one that is not good: 401
│   ├── Forbidden            known, but not allowed to: 403
│   ├── LimitReached         one's own limit, whatever room the node has: 429, with Retry-After
│   │   └── Flood            more than anybody would wait for: the session ends with 1008
│   ├── SlowReader           what is sent is not read: the session ends with 1008
│   └── Expired              the session's time is over, or nobody takes part: it ends with 1001
├── OperatorError            whoever started the process has to act: a message without a traceback, exit code 2
│   ├── ConfigError          a flag, variable or file that is wrong
│   ├── ModelMissing         weights are not here and may not or cannot be fetched
│   ├── ModelCorrupt         weights are here, but are not what the manifest says
│   └── AudioUnreadable      a recording that cannot be decoded
└── NodeError                our fault: the turn fails, the session goes on
    ├── EngineFailed         an engine call raised, or there is no engine to call
    ├── EngineHung           an engine call did not return
    ├── ContextFull          the prompt does not fit the LLM's context window
    ├── Overloaded           no capacity left; refused before the upgrade, with Retry-After
    └── KeysUnavailable      whether a token is good cannot be told now
"""

from __future__ import annotations


class VoiceEdgeError(Exception):
    """Root of the tree. `str(error)` is one sentence for the person who can act on it."""

    wire_type = "server_error"
    """`error.type` on the wire."""
    wire_code: str | None = None
    """`error.code` on the wire; clients match on it."""


class CallerError(VoiceEdgeError):
    """The client's fault. Reported as an `error` event; the session goes on."""

    wire_type = "invalid_request_error"

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.wire_code = code or type(self).wire_code
        self.param = param
        """Path of the offending field, e.g. `session.audio.input.format`."""


class InvalidRequest(CallerError):
    """A message that cannot be understood."""

    wire_code = "invalid_value"


class InvalidTool(CallerError):
    """A tool that cannot be called: its name or the schema of its arguments does not do."""

    wire_code = "invalid_function_parameters"


class Refused(CallerError):
    """A well-formed request that the state of the session does not allow."""


class Unauthorised(CallerError):
    """No key, or one that is not good, or not for this."""

    wire_code = "invalid_api_key"


class Forbidden(CallerError):
    """It is known who asks, and they may not."""

    wire_code = "forbidden"


class LimitReached(CallerError):
    """Whoever asks has used up what is theirs; the caller may try again after `retry_after_s`."""

    wire_type = "rate_limit_error"
    wire_code = "limit_reached"

    def __init__(self, message: str, *, code: str | None = None, retry_after_s: int) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


class Flood(LimitReached):
    """The client sends so much more than it may that it would have to wait too long; its socket is closed with 1008."""

    wire_code = "rate_limit_exceeded"


class SlowReader(CallerError):
    """The client does not read what it is sent; its socket is closed with 1008."""


class Expired(CallerError):
    """The session is over: it was as long as it may be, or nobody takes part; its socket is closed with 1001."""

    wire_code = "session_expired"


class OperatorError(VoiceEdgeError):
    """Whoever runs the command has to act. Printed without a traceback; exit code 2 if a subclass says no other."""

    exit_code = 2


class ConfigError(OperatorError):
    """A flag, environment variable or configuration file that is wrong."""


class ModelMissing(OperatorError):
    """Weights are not on this machine, and nothing that was tried could bring them."""


class ModelCorrupt(OperatorError):
    """A file of a model differs from what its manifest says."""


class AudioUnreadable(OperatorError):
    """A recording that cannot be decoded."""


class NodeError(VoiceEdgeError):
    """The node's fault. The turn ends as failed; the session goes on."""


class EngineFailed(NodeError):
    """An engine call raised; the cause is chained."""

    wire_code = "engine_failed"


class EngineHung(NodeError):
    """An engine call has not returned for so long that nobody waits for it any more."""

    wire_code = "engine_timeout"


class ContextFull(NodeError):
    """The prompt does not fit the LLM's context window."""

    wire_code = "context_length_exceeded"


class Overloaded(NodeError):
    """The node has no capacity left; the caller may try again after `retry_after_s`."""

    wire_code = "overloaded"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class KeysUnavailable(NodeError):
    """Whether a token is good cannot be told: its issuer has not been reached for too long."""

    wire_code = "auth_unavailable"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
