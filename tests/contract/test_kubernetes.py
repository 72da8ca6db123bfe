"""deploy/kubernetes holds together: rendered from its sources, valid, locked down, names and ports meeting."""

import os
import re
import shutil
import subprocess

import kubernetes_validate
import pytest
import yaml

from deploy.kubernetes import render
from services.gateway.config import GatewayConfig
from tests.fuzz.__main__ import PEAK_MB
from tests.support import kubernetes
from tests.support.kubernetes import OVERLAYS, Peer

COMPOSE = yaml.safe_load((kubernetes.DEPLOY.parent / "docker-compose.yml").read_text())
MODELS = ("denoiser", "classifier")
POLLED = "model-configs"

kustomize = pytest.mark.skipif(
    not (shutil.which("kustomize") or shutil.which("kubectl")), reason="neither kustomize nor kubectl is here"
)
every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def every_pod(kinds: set[str] = kubernetes.LONG_RUNNING | kubernetes.JOBS) -> pytest.MarkDecorator:
    cases = [(overlay, pod) for overlay in OVERLAYS for pod in kubernetes.pods(overlay) if pod.kind in kinds]
    return pytest.mark.parametrize(("overlay", "pod"), cases, ids=[f"{o}-{pod.name}" for o, pod in cases])


# Rendering


@every_overlay
def test_the_rendering_was_made_from_the_sources_as_they_are(overlay):
    header = (render.RENDERED / f"{overlay}.yaml").read_text().splitlines()[0]

    assert header.endswith(f"sources: {render.digest()}"), "run `make manifests`"


@kustomize
@every_overlay
def test_kustomize_still_says_what_is_committed(overlay):
    built = render.build(render.HERE / "overlays" / overlay)

    assert tuple(yaml.safe_load_all(built)) == kubernetes.manifests(overlay)


@kustomize
def test_an_overlay_may_add_requests_in_flight_to_what_the_gateway_scales_on(tmp_path):
    def relative(path: str) -> str:  # kustomize takes no other
        return os.path.relpath(render.HERE / path, tmp_path)

    overlay = {
        "resources": [relative("overlays/production")],
        "components": [relative("components/in-flight-autoscaling")],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))

    scalers = [m for m in yaml.safe_load_all(render.build(tmp_path)) if m["kind"] == "HorizontalPodAutoscaler"]
    metrics = {scaler["metadata"]["name"]: [m["type"] for m in scaler["spec"]["metrics"]] for scaler in scalers}
    assert metrics == {"gateway": ["Resource", "Pods"], "denoiser": ["Resource"], "classifier": ["Resource"]}
    for scaler in scalers:
        kubernetes_validate.validate(scaler, "1.34", strict=True)


def test_the_metric_the_autoscaler_asks_for_is_the_one_the_adapter_serves():
    component = render.HERE / "components/in-flight-autoscaling"
    (patch,) = yaml.safe_load((component / "kustomization.yaml").read_text())["patches"]
    (step,) = yaml.safe_load(patch["patch"])
    (rule,) = yaml.safe_load((component / "prometheus-adapter.yaml").read_text())["rules"]["custom"]

    assert rule["seriesQuery"].startswith(step["value"]["pods"]["metric"]["name"] + "{")


def test_the_operator_gets_the_rules_that_promtool_tests():
    assert yaml.safe_load(render.RULES.read_text()) == render.prometheus_rule()


@every_overlay
@pytest.mark.parametrize("version", ["1.32", "1.36", "1.37"])  # the newest two, and the oldest that is in use
def test_every_manifest_fits_the_schema_of_kubernetes(overlay, version):
    checked = [m for m in kubernetes.manifests(overlay) if m["kind"] not in kubernetes.CUSTOM_KINDS]

    for manifest in checked:
        kubernetes_validate.validate(manifest, version, strict=True)

    assert len(checked) >= 10


@every_overlay
def test_everything_lives_in_the_overlays_own_namespace(overlay):
    (namespace,) = kubernetes.of_kind(overlay, "Namespace")

    others = [m for m in kubernetes.manifests(overlay) if m["kind"] != "Namespace"]
    assert {m["metadata"]["namespace"] for m in others} == {namespace["metadata"]["name"]}
    labels = namespace["metadata"]["labels"]
    # KServe's modelcar has no security context: the one place where `restricted` only warns
    assert labels["pod-security.kubernetes.io/enforce"] == ("baseline" if overlay == "kserve-oci" else "restricted")
    assert labels["pod-security.kubernetes.io/warn"] == "restricted"


# Pods: the `restricted` Pod Security Standard, and more


@every_pod()
def test_pods_meet_the_restricted_pod_security_standard(overlay, pod):
    security = pod.spec["securityContext"]

    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod.spec)
    for volume in pod.spec.get("volumes", []):
        assert set(volume) - {"name"} <= {"projected", "emptyDir", "persistentVolumeClaim"}
        assert all(set(source) == {"configMap"} for source in volume.get("projected", {}).get("sources", []))
    for container in pod.every_container:
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert not own.get("privileged", False)
        assert not any("hostPort" in port for port in container.get("ports", []))


@every_pod()
def test_pods_write_only_to_volumes_and_hold_no_token(overlay, pod):
    assert pod.spec["automountServiceAccountToken"] is False
    assert all(container["securityContext"]["readOnlyRootFilesystem"] is True for container in pod.every_container)
    for volume in pod.spec.get("volumes", []):
        assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""}), f"{volume['name']} may fill the node"


@every_pod()
def test_containers_ask_for_what_they_use_and_are_bounded(overlay, pod):
    for container in pod.every_container:
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        assert set(requests) == set(limits) == {"cpu", "memory"}
        assert requests["memory"] == limits["memory"], "memory cannot be throttled, only killed"


@every_overlay
def test_the_gateway_may_use_what_it_is_held_to_and_half_as_much_again(overlay):
    """The number that `make fuzz` fails above, for each worker; the runbook says the same."""
    (container,) = kubernetes.pod(overlay, "gateway").containers
    limit = re.fullmatch(r"(\d+)Gi", container["resources"]["limits"]["memory"])

    assert limit
    assert int(limit[1]) * 2**30 >= 1.5 * PEAK_MB * 1e6 * gateway_config(overlay).workers
    assert f"{PEAK_MB} MB" in (kubernetes.DEPLOY.parent / "docs/OPERATIONS.md").read_text()


@every_pod(kubernetes.LONG_RUNNING)
def test_services_are_probed_for_start_readiness_and_life(overlay, pod):
    (container,) = pod.containers
    probes = {name: container[name] for name in ("startupProbe", "readinessProbe", "livenessProbe")}

    for probe in probes.values():
        target = probe.get("httpGet") or probe["tcpSocket"]
        assert pod.port(target["port"]) is not None
        assert probe["timeoutSeconds"] <= probe["periodSeconds"] * probe["failureThreshold"]
    if pod.name in MODELS:
        # status stays 200 when no version is left, and a bad version must not restart a server that holds a good one
        assert probes["readinessProbe"]["httpGet"]["path"] == f"/v1/models/{pod.name}/metadata"
        assert "tcpSocket" in probes["livenessProbe"]
    else:
        assert probes["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert probes["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert probes["startupProbe"]["httpGet"]["path"] == "/healthz", "a model that is away restarts no gateway"


# Names and ports meet


@every_pod()
def test_what_a_pod_mounts_and_reads_exists(overlay, pod):
    volumes = {volume["name"]: volume for volume in pod.spec.get("volumes", [])}
    mounted = {mount["name"] for container in pod.every_container for mount in container.get("volumeMounts", [])}
    config_maps = {name for maps in kubernetes.config_maps(pod).values() for name in maps} | {
        source["configMapRef"]["name"] for container in pod.containers for source in container.get("envFrom", [])
    }
    claims = {v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "persistentVolumeClaim" in v}

    assert mounted == set(volumes)
    assert config_maps <= kubernetes.names(overlay, "ConfigMap")
    assert claims <= kubernetes.names(overlay, "PersistentVolumeClaim")
    if pod.kind in kubernetes.LONG_RUNNING:
        assert pod.spec["serviceAccountName"] in kubernetes.names(overlay, "ServiceAccount")


@every_pod(kubernetes.LONG_RUNNING)
def test_configuration_files_named_in_arguments_are_mounted(overlay, pod):
    (container,) = pod.containers
    named = re.findall(r"=/etc/cleardigits/(\S+)", " ".join(container.get("args", [])))
    mounted = {name for maps in kubernetes.config_maps(pod).values() for name in maps}
    held = {
        file
        for config in kubernetes.of_kind(overlay, "ConfigMap")
        if config["metadata"]["name"] in mounted
        for file in config["data"]
    }

    assert set(named) <= held
    assert bool(named) == (pod.name in MODELS)


@every_overlay
def test_services_reach_pods_on_ports_they_have(overlay):
    for service in kubernetes.of_kind(overlay, "Service"):
        chosen = [
            pod for pod in kubernetes.pods(overlay) if kubernetes.selects(service["spec"]["selector"], pod.labels)
        ]
        assert [pod.name for pod in chosen] == [service["metadata"]["name"]]
        for port in service["spec"]["ports"]:
            listening = chosen[0].port(port["targetPort"])
            assert listening is not None
            if service["spec"].get("clusterIP") == "None":
                assert port["port"] == listening, "a headless Service translates no ports"


@every_overlay
@pytest.mark.parametrize("model", MODELS)
def test_the_gateway_balances_over_headless_services(overlay, model):
    """KServe's own Services have a cluster address (serviceClusterIPNone: false), which is one pod for each gateway."""
    service = next(s for s in kubernetes.of_kind(overlay, "Service") if s["metadata"]["name"] == model)
    target = getattr(gateway_config(overlay), f"{model}_target")

    assert service["spec"]["clusterIP"] == "None"
    assert target == f"dns:///{model}:{service['spec']['ports'][0]['port']}"


@pytest.mark.parametrize("overlay", kubernetes.KSERVE)
@pytest.mark.parametrize("model", MODELS)
def test_with_kserve_models_lie_where_the_file_of_models_says(overlay, model):
    """KServe mounts the volume, or links /models of the image, to /mnt/models."""
    storage = kubernetes.pod(overlay, model).spec["model"]["storageUri"]
    (configs,) = [c["data"] for c in kubernetes.of_kind(overlay, "ConfigMap") if c["metadata"]["name"] == POLLED]

    if overlay == "kserve":
        assert storage == "pvc://models"
        assert "models" in kubernetes.names(overlay, "PersistentVolumeClaim")
    else:
        assert storage == f"oci://{_models_image()}"
        assert not kubernetes.names(overlay, "PersistentVolumeClaim") | kubernetes.names(overlay, "Job")
    assert f'base_path: "/mnt/models/{model}"' in configs[f"{model}.config"]


def _models_image() -> str:
    """The image of the production overlay, name and tag."""
    return kubernetes.pod("production", "denoiser").spec["initContainers"][0]["image"]


def test_the_ingress_and_the_monitors_point_at_named_ports():
    services = {s["metadata"]["name"]: s for s in kubernetes.of_kind("production", "Service")}
    (ingress,) = kubernetes.of_kind("production", "Ingress")
    backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]

    assert backend["port"]["name"] in {port["name"] for port in services[backend["name"]]["spec"]["ports"]}
    watched = set()
    for monitor in kubernetes.of_kind("production", "ServiceMonitor"):
        for name, service in services.items():
            if kubernetes.selects(monitor["spec"]["selector"], service["metadata"]["labels"]):
                watched.add(name)
                ports = {port["name"] for port in service["spec"]["ports"]}
                assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports
    assert watched == set(services)


def test_kubernetes_scrapes_what_compose_scrapes():
    """The same jobs, paths and filters, or alerts and dashboard would be empty in one of the two."""
    prometheus = yaml.safe_load((kubernetes.DEPLOY / "prometheus/prometheus.yml").read_text())
    compose = {
        (job["job_name"], job["metrics_path"], *(rule["regex"] for rule in job.get("metric_relabel_configs", [])))
        for job in prometheus["scrape_configs"]
    }

    found = set()
    for monitor in kubernetes.of_kind("production", "ServiceMonitor"):
        (endpoint,) = monitor["spec"]["endpoints"]
        (rename,) = endpoint["relabelings"]
        assert (rename["sourceLabels"], rename["targetLabel"]) == (["__meta_kubernetes_service_name"], "job")
        for service in kubernetes.of_kind("production", "Service"):
            if kubernetes.selects(monitor["spec"]["selector"], service["metadata"]["labels"]):
                job = rename["replacement"].replace("$1", service["metadata"]["name"])
                filters = (rule["regex"] for rule in endpoint.get("metricRelabelings", []))
                found.add((job, endpoint["path"], *filters))
    assert found == compose


@every_overlay
def test_each_replica_count_has_one_owner(overlay):
    autoscaled = {
        hpa["spec"]["scaleTargetRef"]["name"] for hpa in kubernetes.of_kind(overlay, "HorizontalPodAutoscaler")
    }
    fixed = {d["metadata"]["name"] for d in kubernetes.of_kind(overlay, "Deployment") if "replicas" in d["spec"]}

    assert not autoscaled & fixed
    assert autoscaled | fixed == kubernetes.names(overlay, "Deployment")


def test_in_production_a_drain_takes_one_pod_of_a_kind_and_pods_spread():
    budgets = {b["metadata"]["name"]: b["spec"] for b in kubernetes.of_kind("production", "PodDisruptionBudget")}
    scalers = {h["metadata"]["name"]: h["spec"] for h in kubernetes.of_kind("production", "HorizontalPodAutoscaler")}

    for pod in kubernetes.pods("production"):
        assert kubernetes.selects(budgets[pod.name]["selector"], pod.labels)
        assert budgets[pod.name]["maxUnavailable"] < scalers[pod.name]["minReplicas"]
        spread = pod.spec["topologySpreadConstraints"]
        assert {rule["topologyKey"] for rule in spread} == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
        assert all(kubernetes.selects(rule["labelSelector"], pod.labels) for rule in spread)


# Labels move, and nothing restarts


@every_overlay
def test_servers_poll_a_config_map_whose_name_never_changes(overlay):
    (polled,) = [c for c in kubernetes.of_kind(overlay, "ConfigMap") if c["metadata"]["name"] == POLLED]
    others = kubernetes.names(overlay, "ConfigMap") - {POLLED}

    assert set(polled["data"]) == {f"{model}.config" for model in MODELS}
    assert {re.sub("-[a-z0-9]{10}$", "", name) for name in others} >= {"gateway-settings", "serving-config"}
    for model in MODELS:
        pod = kubernetes.pod(overlay, model)
        (container,) = pod.containers
        assert POLLED in kubernetes.config_maps(pod)["config"]
        assert not any("subPath" in mount for mount in container["volumeMounts"]), "the kubelet updates no subPath"
        assert any(flag.startswith("--model_config_file_poll_wait_seconds=") for flag in container["args"])


@kustomize
@every_overlay
def test_a_label_move_changes_no_workload(overlay, tmp_path):
    """The canary and the roll-back of docs/OPERATIONS.md: kustomize's output differs in the polled ConfigMap alone."""
    copy = tmp_path / "deploy"
    shutil.copytree(kubernetes.DEPLOY, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = list(yaml.safe_load_all(render.build(copy / "kubernetes/overlays" / overlay)))
    folder = copy / ("kubernetes/overlays/kserve" if overlay in kubernetes.KSERVE else "serving")
    for model in MODELS:
        file = folder / f"{model}.config"
        text = file.read_text()
        policy = "model_version_policy { latest { num_versions: 1 } }"
        assert policy in text
        moved = (
            'model_version_policy { specific { versions: 1 versions: 2 } } version_labels { key: "stable" value: 2 }'
        )
        file.write_text(text.replace(policy, moved))

    after = list(yaml.safe_load_all(render.build(copy / "kubernetes/overlays" / overlay)))

    changed = [new["metadata"]["name"] for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [POLLED]


@kustomize
def test_what_needs_a_restart_rolls_the_servers(tmp_path):
    copy = tmp_path / "deploy"
    shutil.copytree(kubernetes.DEPLOY, copy, ignore=shutil.ignore_patterns("__pycache__"))
    before = list(yaml.safe_load_all(render.build(copy / "kubernetes/overlays/production")))
    monitoring = copy / "serving/monitoring.config"
    monitoring.write_text(monitoring.read_text() + "# changed\n")

    after = list(yaml.safe_load_all(render.build(copy / "kubernetes/overlays/production")))

    changed = {new["metadata"]["name"] for old, new in zip(before, after, strict=True) if old != new}
    assert changed > set(MODELS)


# Jobs


@pytest.mark.parametrize(
    ("there", "after"),
    [
        ([], ["1", "2"]),
        (["denoiser"], ["1", "2"]),  # made by the kubelet for a subPath: a folder is no version
        (["denoiser/.new-2/half"], ["1", "2"]),  # a run that broke off
        (["denoiser/1"], ["1", "2"]),  # the next models tag
        (["denoiser/2"], ["2"]),
        (["denoiser/10"], ["10"]),  # trained here meanwhile
        (["denoiser/1", "denoiser/.withdrawn-2"], [".withdrawn-2", "1"]),  # rolled back: it must not come again
    ],
)
def test_seeding_adds_what_is_newer_and_keeps_what_is_there(tmp_path, there, after):
    """The job's own script, on folders, twice."""
    (container,) = kubernetes.pod("dev", "seed-models").containers
    image, volume = tmp_path / "models", tmp_path / "srv"
    volume.mkdir()
    for model in MODELS:
        for number in ("1", "2"):
            (image / model / number).mkdir(parents=True)
            (image / model / number / "saved_model.pb").write_text("shipped")
    for folder in there:
        (volume / folder).mkdir(parents=True)
    script = container["args"][0].replace("/models/", f"{image}/").replace("/srv/", f"{volume}/")

    for _ in range(2):
        subprocess.run([*container["command"], script], check=True)

    assert sorted(path.name for path in (volume / "denoiser").iterdir()) == after
    assert sorted(path.name for path in (volume / "classifier").iterdir()) == ["1", "2"]
    assert (volume / "classifier/2/saved_model.pb").read_text() == "shipped"


@every_overlay
def test_a_job_that_ran_does_not_stand_in_the_way_of_the_next_apply(overlay):
    """A Job's template cannot be changed: `kubectl apply -k` with another models tag is refused while it exists."""
    for job in kubernetes.of_kind(overlay, "Job"):
        assert 0 < job["spec"]["ttlSecondsAfterFinished"] <= 300


# Settings


def gateway_config(overlay: str) -> GatewayConfig:
    (container,) = kubernetes.pod(overlay, "gateway").containers
    name = container["envFrom"][0]["configMapRef"]["name"]
    (config_map,) = [c for c in kubernetes.of_kind(overlay, "ConfigMap") if c["metadata"]["name"] == name]
    return GatewayConfig.from_env(config_map["data"])


@every_overlay
def test_the_gateway_accepts_its_settings_and_has_time_to_drain(overlay):
    config, pod = gateway_config(overlay), kubernetes.pod(overlay, "gateway")

    assert config.host == "0.0.0.0"
    assert config.port == pod.port("http")
    assert pod.spec["terminationGracePeriodSeconds"] > config.drain_s + config.shutdown_grace_s


@every_overlay
@pytest.mark.parametrize("model", MODELS)
def test_model_servers_outlive_the_longest_call(overlay, model):
    assert (
        kubernetes.pod(overlay, model).spec["terminationGracePeriodSeconds"] > gateway_config(overlay).predict_timeout_s
    )


@pytest.mark.parametrize("overlay", ["dev", "production"])
def test_denoiser_and_classifier_are_twins(overlay):
    def template(model: str) -> str:
        return yaml.safe_dump(kubernetes.pod(overlay, model).spec)

    assert template("denoiser").replace("denoiser", "classifier") == template("classifier")


@every_overlay
@pytest.mark.parametrize("model", MODELS)
def test_model_servers_get_every_flag_that_compose_gives_them(overlay, model):
    (container,) = kubernetes.pod(overlay, model).containers
    wanted = set(COMPOSE["services"][model]["command"])
    if overlay in kubernetes.KSERVE:  # its runtime names the ports
        wanted = {flag for flag in wanted if not re.match("--(port|rest_api_port)", flag)}
    wanted = {flag for flag in wanted if not flag.startswith("--grpc_max_threads=")}  # of the home's own size

    assert wanted <= set(container["args"])


@every_overlay
def test_images_are_pinned_and_those_of_compose(overlay):
    serving = COMPOSE["services"]["denoiser"]["image"]
    pinned = re.search(r"tensorflow/serving:[\w.]+", serving).group()
    dockerfiles = [
        *kubernetes.DEPLOY.parent.glob("services/*/Dockerfile"),
        kubernetes.DEPLOY.parent / "training/Dockerfile",
    ]
    built = {f"cleardigits/{path.parent.name}" for path in dockerfiles} | {"cleardigits/models"}

    for pod in kubernetes.pods(overlay):
        if pod.kind == "InferenceService":
            assert f"tensorflow/serving:{pod.spec['model']['runtimeVersion']}" == pinned
            continue
        for image in (container["image"] for container in pod.every_container):
            repository, tag = image.split(":")
            if repository == "tensorflow/serving":
                assert image == pinned
            else:
                assert repository in built
                assert re.fullmatch(r"\d+\.\d+\.\d+", tag)


# Who may talk to whom

INGRESS = Peer({}, {"kubernetes.io/metadata.name": "ingress-nginx"})
MONITORING = Peer({}, {"kubernetes.io/metadata.name": "monitoring"})
STRANGER = Peer({}, {"kubernetes.io/metadata.name": "somebody-else"})
DNS = Peer({"k8s-app": "kube-dns"}, {"kubernetes.io/metadata.name": "kube-system"})


@every_overlay
def test_only_the_ingress_reaches_the_gateway_and_only_the_gateway_the_models(overlay):
    gateway = kubernetes.pod(overlay, "gateway")
    neighbour = Peer({"app.kubernetes.io/name": "something-new"})

    assert kubernetes.may_connect(overlay, INGRESS, gateway, 8080)
    assert not kubernetes.may_connect(overlay, STRANGER, gateway, 8080)
    assert not kubernetes.may_connect(overlay, neighbour, gateway, 8080)
    for name in MODELS:
        model = kubernetes.pod(overlay, name)
        grpc, rest = model.port("grpc"), model.port("http1" if overlay in kubernetes.KSERVE else "rest")
        assert kubernetes.may_connect(overlay, gateway, model, grpc)
        assert not kubernetes.may_connect(overlay, gateway, model, rest)
        assert not kubernetes.may_connect(overlay, neighbour, model, grpc)
        assert not kubernetes.may_connect(overlay, INGRESS, model, grpc)
        assert not kubernetes.may_connect(overlay, model, gateway, 8080)
        assert not kubernetes.may_connect(overlay, model, STRANGER, 443)


@every_overlay
def test_the_gateway_can_resolve_names_and_call_nobody_else(overlay):
    gateway = kubernetes.pod(overlay, "gateway")

    assert kubernetes.may_connect(overlay, gateway, DNS, 53)
    assert not kubernetes.may_connect(overlay, gateway, STRANGER, 443)


@every_overlay
def test_prometheus_reads_metrics_where_there_is_one(overlay):
    watched = overlay == "production"

    assert kubernetes.may_connect(overlay, MONITORING, kubernetes.pod(overlay, "gateway"), 8080) is watched
    if overlay not in kubernetes.KSERVE:
        for name in MODELS:
            model = kubernetes.pod(overlay, name)
            assert kubernetes.may_connect(overlay, MONITORING, model, model.port("rest")) is watched
            assert not kubernetes.may_connect(overlay, MONITORING, model, model.port("grpc"))


@pytest.mark.parametrize("overlay", ["dev", "kserve"])
def test_only_the_training_job_reaches_the_world(overlay):
    assert kubernetes.may_connect(overlay, kubernetes.pod(overlay, "train"), STRANGER, 443)
    assert not kubernetes.may_connect(overlay, kubernetes.pod(overlay, "seed-models"), STRANGER, 443)
