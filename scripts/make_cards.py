"""Write the cards of all networks from their specifications, keeping what training has added.

    python scripts/make_cards.py [--bench runs/bench]

Run it after a network was added or changed; a test compares the cards with the networks. With the results of
`unblur bench`, the cards of networks in `weights` are told the digest of that file and how it scored.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

import tomli_w
import typer

from unblur import models, nets
from unblur.nets.cost import bytes_per_pixel, gmacs_per_megapixel, parameters

#: What each report's networks are for.
KINDS = {
    "000": ("gaussian",),
    "001": ("gaussian",),
    "002": ("gaussian",),
    "003": ("motion", "shake"),
    "004": ("gaussian",),
}
MOTION = {"srn_reds", "srn_paper", "gan_generator", "gan_discriminator", "mscnn_paper"}

FOLDER = Path(models.__file__).parent / "cards"

#: What is learned by training and measuring, not read off the architecture.
LEARNED = ("trained_on", "licence", "sha256", "results")

#: Networks for photographs under any blur.
ANY_BLUR = ("unblur-m", "unblur-s")


def blur_kinds(name: str) -> tuple[str, ...]:
    spec = nets.spec(name)
    if name in ANY_BLUR:
        return ("gaussian", "disk", "motion", "shake")
    if spec.role == "guided":
        return ("gaussian",)
    return ("motion", "shake") if name in MOTION else KINDS.get(spec.report, ())


def trained(name: str, weights: Path, bench: Path) -> dict[str, Any]:
    """What is known of trained weights, and how each suite in `bench` scored them."""
    rows = [json.loads(path.read_text())["row"] for path in sorted(bench.glob(f"*/{name}.json"))]
    results = [
        {
            "suite": row["suite"],
            "protocol": row["protocol"],
            "images": row["n"],
            "psnr": round(row["psnr_mean"], 2),
            "ssim": round(row["ssim_mean"], 4),
            "mse": round(row["mse_mean"], 6),
            "gain": round(row["gain_mean"], 2),
        }
        for row in rows
    ]
    return {
        "trained_on": models.read_card(weights).trained_on,
        "licence": "for research, as its training data are",
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "results": results,
    }


def main(
    bench: Annotated[
        Path | None, typer.Option(help="Results of `unblur bench` to take into the cards.")
    ] = None,
) -> None:
    FOLDER.mkdir(exist_ok=True)
    old = dict(models.cards())
    for name in nets.names():
        spec = nets.spec(name)
        counted = parameters(name)
        facts = {
            "name": name,
            "family": spec.family,
            "role": spec.role,
            "report": spec.report,
            "source": spec.source,
            "parameters": counted.trainable,
            "total_parameters": counted.total,
            "gmacs_per_megapixel": round(gmacs_per_megapixel(name), 3),
            "bytes_per_pixel": bytes_per_pixel(name),
            "channels": spec.channels,
            "size_multiple": spec.size_multiple,
            "fixed_size": spec.fixed_size,
            "halo": spec.halo,
            "iterations": spec.iterations,
            "loss": spec.loss,
            "blur_kinds": blur_kinds(name),
            # TOML has no null; the preset itself says which of its arguments are none.
            "arguments": {key: value for key, value in spec.arguments.items() if value is not None},
        }
        if name in old:
            facts |= {key: value for key, value in old[name].to_dict().items() if key in LEARNED and value}
        weights = Path("weights") / f"{name}.safetensors"
        if bench is not None and weights.is_file():
            found = trained(name, weights, bench)
            # Suites that were not judged this time keep their results, but not those of other weights.
            kept = facts.get("results", ()) if facts.get("sha256") == found["sha256"] else ()
            by_suite = {one["suite"]: one for one in [*kept, *found["results"]]}
            # What a person wrote about the training says more than the file does.
            facts |= {
                **found,
                "trained_on": facts.get("trained_on") or found["trained_on"],
                "results": list(by_suite.values()),
            }
        said = {key: value for key, value in facts.items() if value not in (None, "", (), [], {})}
        models.ModelCard(**said)
        (FOLDER / f"{name}.toml").write_text(tomli_w.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
