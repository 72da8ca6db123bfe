"""Read rendered manifests the way a cluster does: pods and their templates, selectors, ports, who may talk to whom."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
OVERLAYS = ("dev", "production", "kserve", "kserve-oci")
KSERVE = ("kserve", "kserve-oci")
LONG_RUNNING = {"Deployment", "InferenceService"}
JOBS = {"Job", "CronJob"}

# kinds that come from operators, which the schemas of Kubernetes itself do not describe
CUSTOM_KINDS = {"ServiceMonitor", "PrometheusRule", "InferenceService"}


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod template: whose it is, the labels its pods carry, its spec. KServe's main container counts as any other."""

    kind: str
    name: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def containers(self) -> list[Mapping[str, Any]]:
        """The containers that run, init containers excluded."""
        return list(self.spec["containers"])

    @property
    def every_container(self) -> list[Mapping[str, Any]]:
        """Init containers included."""
        return [*self.spec.get("initContainers", []), *self.containers]

    def port(self, wanted: int | str) -> int | None:
        """The container port of that name or number, None if the pod has none."""
        for container in self.containers:
            for port in container.get("ports", []):
                if wanted in (port.get("name"), port["containerPort"]):
                    return port["containerPort"]
        return None


@cache
def manifests(overlay: str) -> tuple[Mapping[str, Any], ...]:
    """Every object of a rendered overlay."""
    text = (DEPLOY / f"kubernetes/rendered/{overlay}.yaml").read_text()
    return tuple(yaml.load_all(text, Loader=yaml.CSafeLoader))


def of_kind(overlay: str, *kinds: str) -> list[Mapping[str, Any]]:
    return [manifest for manifest in manifests(overlay) if manifest["kind"] in kinds]


def names(overlay: str, kind: str) -> set[str]:
    return {manifest["metadata"]["name"] for manifest in of_kind(overlay, kind)}


def pods(overlay: str) -> Iterator[Pod]:
    """Every pod template of an overlay, from each kind that makes pods."""
    for manifest in of_kind(overlay, *LONG_RUNNING, *JOBS):
        kind, spec, metadata = manifest["kind"], manifest["spec"], manifest["metadata"]
        if kind == "InferenceService":
            predictor = spec["predictor"]
            template = {"metadata": metadata, "spec": {**predictor, "containers": [predictor["model"]]}}
        elif kind == "CronJob":
            template = spec["jobTemplate"]["spec"]["template"]
        else:
            template = spec["template"]
        yield Pod(kind, metadata["name"], template["metadata"]["labels"], template["spec"])


def pod(overlay: str, name: str) -> Pod:
    return next(pod for pod in pods(overlay) if pod.name == name)


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector, in either of its two spellings, takes a pod with these labels."""
    if not {"matchLabels", "matchExpressions"} & set(selector):
        wanted, expressions = selector, []
    else:
        wanted, expressions = selector.get("matchLabels", {}), selector.get("matchExpressions", [])
    for expression in expressions:
        if expression["operator"] != "In":
            raise NotImplementedError(f"operator {expression['operator']} of a label selector")
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return all(labels.get(key) == value for key, value in wanted.items())


def config_maps(pod: Pod) -> dict[str, set[str]]:
    """The ConfigMaps that a pod mounts, by the name of the volume."""
    found = {}
    for volume in pod.spec.get("volumes", []):
        sources = [volume, *volume.get("projected", {}).get("sources", [])]
        found[volume["name"]] = {source["configMap"]["name"] for source in sources if "configMap" in source}
    return {name: maps for name, maps in found.items() if maps}


@dataclass(frozen=True, slots=True)
class Peer:
    """One end of a connection: labels of the pod and of its namespace; None stands for a pod of the overlay's own."""

    labels: Mapping[str, str]
    namespace: Mapping[str, str] | None = None


def may_connect(overlay: str, source: Pod | Peer, target: Pod | Peer, port: int) -> bool:
    """Whether the network policies let `source` open a TCP connection to `port` of `target`."""
    policies = of_kind(overlay, "NetworkPolicy")
    return _allows(policies, target, source, port, "Ingress") and _allows(policies, source, target, port, "Egress")


def _allows(
    policies: list[Mapping[str, Any]], subject: Pod | Peer, other: Pod | Peer, port: int, direction: str
) -> bool:
    """One direction of may_connect: policies add up, and a pod that none selects is open."""
    if isinstance(subject, Peer) and subject.namespace is not None:
        return True  # outside this namespace: its own policies decide
    binding = [
        policy["spec"]
        for policy in policies
        if direction in policy["spec"]["policyTypes"] and selects(policy["spec"]["podSelector"], subject.labels)
    ]
    listener = subject if direction == "Ingress" else other
    rules = [rule for spec in binding for rule in spec.get(direction.lower(), [])]
    return not binding or any(
        _covers(rule.get("from" if direction == "Ingress" else "to"), other)
        and _covers_port(rule.get("ports"), listener, port)
        for rule in rules
    )


def _covers(peers: list[Mapping[str, Any]] | None, other: Pod | Peer) -> bool:
    if peers is None:
        return True
    namespace = other.namespace if isinstance(other, Peer) else None
    for peer in peers:
        in_namespace = (
            namespace is not None and selects(peer["namespaceSelector"], namespace)
            if "namespaceSelector" in peer
            else namespace is None
        )
        if in_namespace and selects(peer.get("podSelector", {}), other.labels):
            return True
    return False


def _covers_port(ports: list[Mapping[str, Any]] | None, listener: Pod | Peer, port: int) -> bool:
    if ports is None:
        return True
    return any(
        allowed.get("protocol", "TCP") == "TCP"
        and port == (_port_named(listener, allowed["port"]) if isinstance(allowed["port"], str) else allowed["port"])
        for allowed in ports
    )


def _port_named(listener: Pod | Peer, name: str) -> int | None:
    return listener.port(name) if isinstance(listener, Pod) else None  # names are those of a pod's containers
