"""The command line is tensorflow_model_server's: names, defaults, and no guessing."""

import dataclasses

import pytest

from services.core.errors import ConfigError
from services.model_server.config import HELP, METRICS_PATH, UNUSED, ServerConfig
from services.model_server.flags import parse_flags, unused_flags

BASE = "--model_base_path=/models/m"


def test_defaults_are_tensorflow_servings():
    config = parse_flags([BASE])

    assert (config.port, config.rest_api_port, config.model_name) == (8500, 0, "default")
    assert (config.file_system_poll_wait_seconds, config.model_config_file_poll_wait_seconds) == (1, 0)
    assert (config.max_num_load_retries, config.load_retry_interval_micros) == (5, 60_000_000)
    assert config.rest_api_timeout_in_ms == 30_000
    assert config.enable_model_warmup
    assert not config.enable_batching
    assert not config.enable_grpc_healthcheck_service
    assert not config.enable_serialization_as_tensor_content


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("--enable_batching", True),
        ("--enable_batching=true", True),
        ("--enable_batching=false", False),
        ("--enable_batching=1", True),
    ],
)
def test_booleans_may_stand_alone(written, expected):
    assert parse_flags([BASE, written]).enable_batching is expected


@pytest.mark.parametrize("arguments", [["--prot=1"], ["--port=x"], ["--enable_batching=maybe"], ["--por=1"], ["extra"]])
def test_an_unknown_or_unreadable_flag_is_an_error(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        parse_flags([BASE, *arguments])

    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize("written", ["--version", "--version=true"])
def test_version_is_told(capsys, written):
    with pytest.raises(SystemExit) as caught:
        parse_flags([written])

    assert caught.value.code == 0
    assert "ONNX Runtime" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "one of --model_base_path and --model_config_file must be given"),
        ([BASE, "--port=0"], "nothing to listen on"),
        ([BASE, "--port=70000"], "--port: 70000 is not a port"),
        ([BASE, "--rest_api_port=-1"], "--rest_api_port: -1 is not a port"),
        ([BASE, "--port=7000", "--rest_api_port=7000"], "must not be the same"),
        ([BASE, "--batching_parameters_file=/b"], "needs --enable_batching"),
        ([BASE, "--enable_per_model_batching_parameters"], "needs --enable_batching"),
        ([BASE, "--tensorflow_session_parallelism=2", "--tensorflow_inter_op_parallelism=2"], "exclude each other"),
        ([BASE, "--use_alts_credentials"], "is not supported"),
    ],
)
def test_settings_that_contradict_each_other_are_named(arguments, complaint):
    with pytest.raises(ConfigError, match=complaint):
        parse_flags(arguments)


def test_an_unknown_flag_is_told_its_nearest_neighbour(capsys):
    with pytest.raises(SystemExit):
        parse_flags([BASE, "--rest_api_prot=8501"])

    assert "--rest_api_prot=8501: did you mean --rest_api_port?" in capsys.readouterr().err


# tensorflow_model_server's own list at 2.20 (ts/model_servers/main.cc), each with a value it takes
THEIRS = """
    port=8500 grpc_socket_path=/tmp/s rest_api_port=8501 rest_api_num_threads=4 rest_api_timeout_in_ms=30000
    rest_api_enable_cors_support=true enable_batching=true allow_version_labels_for_unavailable_models=true
    batching_parameters_file=/b enable_per_model_batching_parameters=true model_config_file=/m
    model_config_file_poll_wait_seconds=1 model_name=m model_base_path=/models/m num_load_threads=2
    num_unload_threads=2 max_num_load_retries=2 load_retry_interval_micros=5000000 file_system_poll_wait_seconds=1
    flush_filesystem_caches=true tensorflow_session_parallelism=0 tensorflow_session_config_file=/s
    tensorflow_intra_op_parallelism=2 tensorflow_inter_op_parallelism=2 use_alts_credentials=false
    ssl_config_file=/t platform_config_file=/p per_process_gpu_memory_fraction=0.5 saved_model_tags=serve
    grpc_channel_arguments=a=1 grpc_max_threads=8 enable_model_warmup=true num_request_iterations_for_warmup=1
    monitoring_config_file=/mon remove_unused_fields_from_bundle_metagraph=true prefer_tflite_model=true
    num_tflite_pools=2 num_tflite_interpreters_per_pool=1 enable_signature_method_name_check=true
    xla_cpu_compilation_enabled=false xla_gpu_compilation_enabled=false enable_profiler=true
    thread_pool_factory_config_file=/f mixed_precision=x skip_initialize_tpu=true
    enable_grpc_healthcheck_service=true enable_serialization_as_tensor_content=true
"""


def test_every_flag_of_tensorflow_model_server_is_accepted():
    written = [f"--{flag}" for flag in THEIRS.split()]

    assert len(written) == 47  # and --version
    assert parse_flags(written).saved_model_tags == "serve"
    assert set(unused_flags(written)) == set(UNUSED)


def test_flags_without_a_meaning_are_named_only_when_they_are_given():
    assert unused_flags([BASE, "--port=1"]) == []
    assert unused_flags([BASE, "--enable_profiler=false"]) == ["enable_profiler"]


def test_every_flag_has_a_help_text():
    assert set(HELP) == {field.name for field in dataclasses.fields(ServerConfig)}


# ---- the files flags point at


@pytest.fixture
def written(tmp_path):
    """`written(text)` is the path of a file with that text."""

    def write(text):
        path = tmp_path / "file"
        path.write_text(text)
        return str(path)

    return write


def test_a_model_config_file_is_read(written):
    path = written("""
        # a comment
        model_config_list {
          config {
            name: 'denoiser' base_path: '/models/denoiser' model_platform: 'tensorflow'
            model_version_policy { specific { versions: 1 versions: 2 } }
            version_labels { key: 'stable' value: 1 }
            logging_config {
              log_collector_config { type: "request_logger" filename_prefix: "/tmp/log" }
              sampling_config {
                sampling_rate: 0.1 attributes: 1 per_task_sampling_configs { dc: "a" task_index: 0 sampling_rate: 1.0 }
              }
              custom_logging_config { type_url: "type.googleapis.com/x" }
            }
          }
          config { name: "classifier" base_path: "/models/classifier" model_platform: "tensorflow" }
        }""")

    models = ServerConfig(model_config_file=path).model_server_config().model_config_list.config

    assert [model.name for model in models] == ["denoiser", "classifier"]
    assert list(models[0].model_version_policy.specific.versions) == [1, 2]
    assert dict(models[0].version_labels) == {"stable": 1}


@pytest.mark.parametrize("text", ["model_config_list { confg {} }", "{", "model_config_list: 3"])
def test_a_mistake_in_a_file_is_named_with_its_place(written, text):
    path = written(text)

    with pytest.raises(ConfigError, match=path) as raised:
        ServerConfig(model_config_file=path).model_server_config()
    assert "cleardigits" not in str(raised.value)


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"cannot read /nowhere/models\.config"):
        ServerConfig(model_config_file="/nowhere/models.config").model_server_config()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prometheus_config { enable: true }", METRICS_PATH),
        ("prometheus_config { enable: true, path: '/metrics' }", "/metrics"),
        ("prometheus_config { enable: false }", None),
        ("", None),
    ],
)
def test_the_monitoring_file_says_where_metrics_are(written, text, expected):
    assert ServerConfig(model_base_path="/m", monitoring_config_file=written(text)).metrics_path() == expected


def test_the_batching_file_is_read(written):
    config = ServerConfig(
        model_base_path="/m",
        enable_batching=True,
        batching_parameters_file=written("max_batch_size { value: 32 } allowed_batch_sizes: 8 allowed_batch_sizes: 32"),
    )

    assert config.batching_parameters().max_batch_size.value == 32
    assert list(config.batching_parameters().allowed_batch_sizes) == [8, 32]


PLATFORM = """
    platform_configs {
      key: "tensorflow"
      value {
        source_adapter_config {
          [type.googleapis.com/tensorflow.serving.SavedModelBundleSourceAdapterConfig] {
            legacy_config { %s }
          }
        }
      }
    }
"""


def test_a_platform_config_file_takes_the_place_of_flags(written):
    path = written(
        PLATFORM
        % """
        batching_parameters { max_batch_size { value: 64 } num_batch_threads { value: 2 } }
        session_config {
          intra_op_parallelism_threads: 3 inter_op_parallelism_threads: 4 gpu_options { allow_growth: true }
        }
        enable_model_warmup: true
        model_warmup_options { num_request_iterations { value: 5 } }
        saved_model_tags: "serve" saved_model_tags: "gpu"
    """
    )
    config = parse_flags([BASE, f"--platform_config_file={path}", "--tensorflow_session_parallelism=9"]).of_platform()

    assert config.batching_parameters().max_batch_size.value == 64
    assert config.enable_batching
    assert (config.enable_model_warmup, config.num_request_iterations_for_warmup) == (True, 5)
    assert config.tags() == {"serve", "gpu"}
    parallelism = ("session", "intra_op", "inter_op")
    assert [getattr(config, f"tensorflow_{each}_parallelism") for each in parallelism] == [0, 3, 4]


def test_what_a_platform_config_file_does_not_say_is_off_whatever_the_flags_say(written):
    path = written(PLATFORM % "")
    flags = [BASE, f"--platform_config_file={path}", "--enable_batching", "--batching_parameters_file=/nowhere"]
    config = parse_flags(flags).of_platform()

    assert config.batching_parameters() is None
    assert not config.enable_model_warmup
    assert config.tags() == {"serve"}


def test_without_a_platform_config_file_flags_are_what_they_are():
    config = parse_flags([BASE, "--enable_batching"])

    assert config.of_platform() is config


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "PlatformConfigMap has no entry for platform tensorflow"),
        (PLATFORM % "" + 'platform_configs { key: "other" }', "platform other is not supported"),
        ('platform_configs { key: "tensorflow" }', "is no SavedModelBundleSourceAdapterConfig"),
        (PLATFORM % 'session_target: "grpc://x"', "session_target is not supported"),
        (PLATFORM % "batching: 1", "tensorflow.serving.SessionBundleConfig"),
        ((PLATFORM % "").replace("SavedModelBundleS", "S"), "tensorflow.serving.SourceAdapterConfig"),
    ],
)
def test_a_platform_config_that_cannot_be_followed_is_an_error(written, text, complaint):
    config = parse_flags([BASE, f"--platform_config_file={written(text)}"])

    with pytest.raises(ConfigError, match=complaint):
        config.of_platform()
