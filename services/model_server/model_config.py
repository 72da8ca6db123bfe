"""The list of models to serve: read from flags or a file, and checked as TensorFlow Serving checks it."""

from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from services.core.errors import ConfigError
from services.model_server.statuses import Code, StatusError
from services.pb import tfserving_pb2 as pb

PLATFORM = "tensorflow"

# What an Any holds is named by its type: theirs in the file, ours to the parser.
_THEIR_TYPES = "type.googleapis.com/tensorflow.serving."
_OUR_TYPES = f"type.googleapis.com/{pb.DESCRIPTOR.package}."

AnyMessage = TypeVar("AnyMessage", bound=Message)


def read_text_proto(path: str, message_class: type[AnyMessage]) -> AnyMessage:
    """A file in protobuf's text form; a name it does not know is an error, as is a file that is not there."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        return text_format.Parse(text.replace(_THEIR_TYPES, _OUR_TYPES), message_class())
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot read {path}: {exc}") from exc
    except text_format.ParseError as exc:
        words = str(exc).replace(pb.DESCRIPTOR.package, "tensorflow.serving")  # the name that its documents use
        raise ConfigError(f"{path}:{words}") from exc


def read_platform_config(path: str) -> pb.SessionBundleConfig:
    """What --platform_config_file says of the one platform there is."""
    platforms = read_text_proto(path, pb.PlatformConfigMap).platform_configs
    if PLATFORM not in platforms:
        raise ConfigError(f"{path}: PlatformConfigMap has no entry for platform {PLATFORM}")
    if others := sorted(set(platforms) - {PLATFORM}):
        raise ConfigError(f"{path}: platform {others[0]} is not supported; {PLATFORM} is")
    adapter = pb.SavedModelBundleSourceAdapterConfig()
    if not platforms[PLATFORM].source_adapter_config.Unpack(adapter):
        raise ConfigError(f"{path}: source_adapter_config of {PLATFORM} is no SavedModelBundleSourceAdapterConfig")
    if adapter.legacy_config.session_target:
        raise ConfigError(f"{path}: session_target is not supported: models run in this process")
    return adapter.legacy_config


def single_model(name: str, base_path: str) -> pb.ModelServerConfig:
    """The configuration that --model_name and --model_base_path stand for."""
    entry = pb.ModelConfig(name=name, base_path=str(Path(base_path).absolute()), model_platform=PLATFORM)
    return pb.ModelServerConfig(model_config_list=pb.ModelConfigList(config=[entry]))


def check_config(new: pb.ModelServerConfig, before: pb.ModelServerConfig | None = None) -> None:
    """Raise StatusError for a configuration that cannot be served, or not after the one `before`."""
    if new.WhichOneof("config") != "model_config_list":
        raise StatusError(
            Code.INVALID_ARGUMENT,
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported",
        )
    platforms = {entry.name: _platform(entry) for entry in before.model_config_list.config} if before else {}
    names: set[str] = set()
    for entry in new.model_config_list.config:
        if entry.name in names:
            raise _invalid(f"Illegal to list model {entry.name} multiple times in config list")
        names.add(entry.name)
        if not Path(entry.base_path).is_absolute():
            raise _invalid(
                f"Expected model {entry.name} to have an absolute path or URI; got base_path()={entry.base_path}"
            )
        was, now = platforms.get(entry.name, _platform(entry)), _platform(entry)
        if was != now:
            raise _invalid(
                f"Illegal to change a model's platform. For model {entry.name} platform was {was} and new platform "
                f"requested is {now}"
            )
        _check_platform(entry)


def _platform(entry: pb.ModelConfig) -> str:
    return PLATFORM if entry.model_type == pb.ModelConfig.TENSORFLOW else entry.model_platform


def _check_platform(entry: pb.ModelConfig) -> None:
    old_form = entry.model_type == pb.ModelConfig.TENSORFLOW
    if not entry.model_platform and not old_form:
        raise _invalid(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            f"ModelServerConfig::model_platform, model name is {entry.name}"
        )
    if entry.model_platform and old_form:
        raise _invalid(
            "Illegal setting both ModelServerConfig::model_type (deprecated) and "
            f"ModelServerConfig::model_platform, model name is {entry.name}"
        )
    if entry.model_platform not in ("", PLATFORM):
        raise StatusError(
            Code.FAILED_PRECONDITION, f"PlatformConfigMap has no entry for platform {entry.model_platform}"
        )


def _invalid(message: str) -> StatusError:
    return StatusError(Code.INVALID_ARGUMENT, message)
