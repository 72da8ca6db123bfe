"""What can go wrong, as one family seen from both protocols.

ServiceError
├── InvalidInputError          pixels, tensors or parameters we cannot read
│   ├── UnsupportedMediaError      a body of a kind we do not take
│   └── TooLargeError              more bytes, images or pixels than a request may hold
├── NotFoundError              no resource, model or version of that name in the address
├── UnauthorizedError          no API key, or one that is not known
├── OverloadedError            the bounded queue is full: try again after `retry_after_s`
│   └── RateLimitedError           this caller asked too often
├── DeadlineError              the request's own time is used up
├── ClientGoneError            the caller closed the connection and will not read the answer
└── ModelError                 a model server did not do its part
    ├── ModelNotFoundError         no model of that name or version
    ├── ModelUnavailableError      no server answers at that address
    ├── ModelRefusedError          the server is there and refused the call for now
    ├── ModelTimeoutError          no answer within the deadline
    └── ModelResponseError         an answer of the wrong shape, type or name
ConfigError                    a setting is wrong: printed at start, exit status 2, never a response

Each service maps the family to its protocol in one table: `gateway/problems.py` to HTTP,
`model_server/statuses.py` to gRPC.
"""


class ServiceError(Exception):
    """The root of all that a caller may be told about."""


class InvalidInputError(ServiceError):
    """The caller sent something that cannot be read as digits."""


class UnsupportedMediaError(InvalidInputError):
    """The body is of a kind this service does not take."""


class TooLargeError(InvalidInputError):
    """The request holds more than one request may."""


class NotFoundError(ServiceError):
    """The address names a model or a version that there is not."""


class OverloadedError(ServiceError):
    """A bounded queue is full; the caller may come back after `retry_after_s`."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateLimitedError(OverloadedError):
    """This caller asked more often than it may."""


class UnauthorizedError(ServiceError):
    """The caller showed no API key, or one that is not known."""


class DeadlineError(ServiceError):
    """The request's time was used up before an answer was ready."""


class ClientGoneError(ServiceError):
    """The caller closed the connection before there was an answer."""


class ModelError(ServiceError):
    """A model server did not do its part."""


class ModelNotFoundError(ModelError):
    """No model of that name or version is being served."""


class ModelUnavailableError(ModelError):
    """No server answers at the model's address."""


class ModelRefusedError(ModelError):
    """The model server is there and refused the call for now: it is full, or another call broke its batch."""

    retry_after_s = 1.0


class ModelTimeoutError(ModelError):
    """The model did not answer within the deadline."""


class ModelResponseError(ModelError):
    """The model answered, but not what its signature promises."""


class ConfigError(Exception):
    """A setting is wrong: one message for the operator, before anything has started."""
