"""What can go wrong in the training job, with the exit status each ends in.

TrainingError
├── DataError        MNIST is missing, truncated or not MNIST        exit status 2
├── ExportError      a version could not be written or checked       exit status 1
├── TrackingError    a run could not be kept in MLflow               exit status 1
├── SigningError     a version could not be signed                   exit status 1
└── GateError        the new version is worse than the current one   exit status 3
"""


class TrainingError(Exception):
    """The root: one message for the person at the terminal, no traceback."""

    exit_status = 1


class DataError(TrainingError):
    """The data is not there, not whole or not what it should be."""

    exit_status = 2


class ExportError(TrainingError):
    """A model version could not be written, or what was written does not behave as the model does."""


class TrackingError(TrainingError):
    """MLflow is not installed, or what it keeps runs in cannot be opened or written."""


class SigningError(TrainingError):
    """model-signing is not installed, the key is none, or a version's files cannot be signed."""


class GateError(TrainingError):
    """The new version reads noisy digits worse than the one it would replace."""

    exit_status = 3
