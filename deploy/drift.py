"""Write deploy/prometheus/rules/drift.yml, which compares what arrives with a reference: python -m deploy.drift

The reference is one of those in the card of the newest classifier (--reference clean, or "gaussian 0.5"). Once a
service has ordinary traffic of its own, that is the better one: --metrics takes a gateway's /metrics (a URL or a file).
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import urllib.request
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from services.core.model_digest import CARD, newest

ROOT = Path(__file__).parents[1]
RULES = ROOT / "deploy/prometheus/rules/drift.yml"
# The inner edges of the bins: buckets of the gateway's histograms that the card's histograms have as edges too.
EDGES: Mapping[str, Sequence[float]] = {
    "noise_level": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3),
    "confidence": (0.5, 0.6, 0.7, 0.8, 0.9, 0.95),
}
FLOOR = 0.005  # of a share in the index: an empty bin would make it infinite, a nearly empty one ruled by luck
LEAST = 500  # pictures that a reference is taken from
TIMEOUT_S = 10.0

Reference = Mapping[str, list[float]]  # quantity -> share of each bin

_HEAD = """\
# Written by `make drift` from {source}; do not edit.
# Population stability index of the last hour against the reference: sum of (share - reference) * ln(share / reference).
groups:
  - name: cleardigits-drift
    rules:
"""
_BIN = """\
      - record: quantity_bin:cleardigits_input:reference_share
        expr: vector({reference:.6g})
        labels: {{quantity: {quantity}, bin: "{name}"}}
      - record: quantity_bin:cleardigits_input:share_rate1h
        expr: ({share}) / sum(rate(cleardigits_{quantity}_count[1h]))
        labels: {{quantity: {quantity}, bin: "{name}"}}
"""
_PSI = """\
      - record: quantity:cleardigits_input:psi_rate1h
        expr: |
          sum by (quantity) (
            ({share} - {reference})
            * ln({share} / {reference})
          )
"""
_COUNT = """\
      - record: quantity:cleardigits_input:increase1h
        expr: sum(increase(cleardigits_{quantity}_count[1h]))
        labels: {{quantity: {quantity}}}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file; exit status 1 when the reference cannot be had."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.drift", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="folder of versions")
    parser.add_argument("--reference", default="clean", help="which of the card's (default: %(default)s)")
    parser.add_argument("--metrics", metavar="URL|FILE", help="take the reference from this gateway's counts instead")
    parser.add_argument("--out", type=Path, default=RULES, help="default: %(default)s")
    args = parser.parse_args(argv)
    try:
        if args.metrics:
            found, source = from_metrics(_page(args.metrics)), args.metrics
        else:
            home = args.models / "classifier"
            version = newest(home)
            card = json.loads((home / str(version) / CARD).read_text())
            found, source = from_card(card, args.reference), f'the card of classifier {version}, "{args.reference}"'
        args.out.write_text(rules(found, source))
    except (OSError, ValueError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    print(f"{args.out}: {source}")
    return 0


def from_card(card: Mapping[str, object], name: str) -> Reference:
    """Shares of the bins in a reference that the training job measured."""
    results = card["results"]
    reference = (results.get("wide") or {}).get("reference") if isinstance(results, dict) else None
    if not reference:
        raise ValueError("the model card holds no reference histograms")
    if name not in reference["confidence"]:
        raise ValueError(f"the card has no reference {name!r}; it has {', '.join(reference['confidence'])}")
    uppers = reference["edges"][1:]
    found = {}
    for quantity, edges in EDGES.items():
        shares = [0.0] * (len(edges) + 1)
        for upper, share in zip(uppers, reference[quantity][name], strict=True):
            shares[bisect_left(edges, upper - 1e-9)] += share
        found[quantity] = shares
    return found


def from_metrics(page: str) -> Reference:
    """Shares of the bins since the gateway started."""
    below: dict[str, dict[str, float]] = {quantity: {} for quantity in EDGES}
    for family in text_string_to_metric_families(page):
        quantity = family.name.removeprefix("cleardigits_")
        if quantity in below:
            for sample in family.samples:
                if sample.name.endswith("_bucket"):
                    edge = sample.labels["le"]
                    below[quantity][edge] = below[quantity].get(edge, 0.0) + sample.value
    found = {}
    for quantity, edges in EDGES.items():
        total = below[quantity].get("+Inf", 0.0)
        if total < LEAST:
            raise ValueError(f"{total:.0f} pictures are too few for a reference of {quantity}: at least {LEAST}")
        counts = [0.0, *(below[quantity][str(edge)] for edge in edges), total]
        found[quantity] = [(high - low) / total for low, high in itertools.pairwise(counts)]
    return found


def rules(reference: Reference, source: str) -> str:
    """The file of recording rules."""
    text = _HEAD.format(source=source)
    for quantity, edges in EDGES.items():
        names = [*map(str, edges), "+Inf"]
        for place, (name, share) in enumerate(zip(names, reference[quantity], strict=True)):
            bucket = f'sum(rate(cleardigits_{quantity}_bucket{{le="%s"}}[1h]))'
            live = bucket % name if not place else f"{bucket % name} - {bucket % names[place - 1]}"
            text += _BIN.format(quantity=quantity, name=name, reference=share, share=live)
        text += _COUNT.format(quantity=quantity)
    found, expected = (
        f"clamp_min(quantity_bin:cleardigits_input:{name}, {FLOOR})" for name in ("share_rate1h", "reference_share")
    )
    return text + _PSI.format(share=found, reference=expected)


def _page(place: str) -> str:
    if "://" not in place:
        return Path(place).read_text()
    with urllib.request.urlopen(place, timeout=TIMEOUT_S) as answer:
        return str(answer.read().decode())


if __name__ == "__main__":
    sys.exit(main())
