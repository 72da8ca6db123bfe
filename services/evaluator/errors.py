"""What can end an evaluation early, with the exit status each ends in.

EvaluatorError
├── DatasetError       no images, or not what they should be     exit status 2
├── ReportError        results cannot be written or read         exit status 2
└── GatewayError       the gateway does not answer as agreed     exit status 3, what was measured so far is kept
"""


class EvaluatorError(Exception):
    """The root: one message for the person at the terminal, no traceback."""

    exit_status = 2


class DatasetError(EvaluatorError):
    """There are no images to send, or they are not what they should be."""


class ReportError(EvaluatorError):
    """Results cannot be written to, or read from, the place that was asked for."""


class GatewayError(EvaluatorError):
    """The gateway is not there, went away, or does not answer as agreed."""

    exit_status = 3
