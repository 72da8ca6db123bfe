"""The lane: Predict and GetModelStatus between two processes of one machine, over a UNIX socket instead of HTTP/2.

The messages are those of gRPC, byte for byte. A connection carries one call at a time: a caller with several under way
opens several, and whoever gives a call up closes its connection. An answer's payload is the response message, or the
reason in words where the code is not OK.

    request   method (1 byte)   milliseconds left, 0: no deadline (4)   length (4)   message
    answer    code   (1 byte)                                           length (4)   payload
"""

import struct
from enum import IntEnum

SCHEME = "lane:"
REQUEST = struct.Struct("<BII")
ANSWER = struct.Struct("<BI")
MAX_MESSAGE_BYTES = 64 * 1024 * 1024


class Method(IntEnum):
    """What can be asked."""

    PREDICT = 1
    GET_MODEL_STATUS = 2


class Code(IntEnum):
    """gRPC's status codes, by their numbers on the wire."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16
