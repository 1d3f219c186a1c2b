"""What `cxr pacs` does: the DICOM node of a hospital."""

from __future__ import annotations

import json as json_module
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.cli.terminal import log, tell, warn
from cxr_transfer.extras import require

if TYPE_CHECKING:
    from cxr_transfer.pacs.settings import NodeSettings

PACS_RUN_EXAMPLES = (
    "Examples:\n\n"
    "cxr pacs run --ae CXR --port 11112 --answer-to ORTHANC@127.0.0.1:4242\n\n"
    "cxr pacs run --answer-to http://127.0.0.1:8042/dicom-web --model multi_source\n\n"
    "cxr pacs run --settings node.toml\n\n"
    "An option wins over the settings file. SIGTERM ends it in order."
)
PACS_STATUS_EXAMPLES = (
    "Examples:\n\ncxr pacs status --spool spool\n\ncxr pacs status --settings node.toml --json"
)
PACS_RETRY_EXAMPLES = "Examples:\n\ncxr pacs retry --settings node.toml"
PACS_DRAIN_EXAMPLES = (
    "Examples:\n\ncxr pacs drain --settings node.toml\n\n"
    "cxr pacs drain --spool spool --answer-to ORTHANC@127.0.0.1:4242"
)
PACS_DOCTOR_EXAMPLES = "Examples:\n\ncxr pacs doctor\n\ncxr pacs doctor --settings node.toml --json"

SettingsFile = Annotated[
    Path | None, typer.Option(help="Settings file (TOML): peers, rules, destinations, limits.")
]
Ae = Annotated[str | None, typer.Option(help="AE title of the node. Default: CXR.")]
Host = Annotated[
    str | None,
    typer.Option(help="Address; all but loopback need peers in the file. Default: 127.0.0.1."),
]
Port = Annotated[int | None, typer.Option(help="0 takes any free one. Default: 11112.")]
AnswerTo = Annotated[
    list[str] | None,
    typer.Option(
        help="Archive that takes the answers: AE@HOST:PORT, or the URL of a DICOMweb service. "
        "May be repeated."
    ),
]
Model = Annotated[
    str | None,
    typer.Option(help="Model of a node without rules: run folder, or name of a released model."),
]
SpoolFolder = Annotated[
    Path | None,
    typer.Option("--spool", help="Folder of what was received and answered. Default: cxr-spool."),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(help="File with the spool's key, 64 hexadecimal digits: encrypts what is kept."),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(help="Port on 127.0.0.1 for figures in Prometheus' form. Default: none."),
]
_NO_DESTINATION = (
    "No destination: answers are made and kept until one is named, and sent to nobody; see "
    "--answer-to."
)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for a program.")]


def pacs_run(
    settings: SettingsFile = None,
    ae: Ae = None,
    host: Host = None,
    port: Port = None,
    answer_to: AnswerTo = None,
    model: Model = None,
    spool: SpoolFolder = None,
    key_file: KeyFile = None,
    metrics_port: MetricsPort = None,
) -> None:
    """Receive images, judge them, and send the answers back, until told to stop."""
    chosen = _settings(
        *(settings, answer_to, model),
        ae=ae,
        host=host,
        port=port,
        spool=spool,
        key_file=key_file,
        metrics_port=metrics_port,
    )
    from cxr_transfer.pacs.node import Node

    warn(INTENDED_USE)
    if not chosen.destinations:
        warn(_NO_DESTINATION)
    _speak()
    Node(chosen).run()


def pacs_status(
    settings: SettingsFile = None,
    spool: SpoolFolder = None,
    key_file: KeyFile = None,
    json: AsJson = False,
) -> None:
    """Show how many objects are in which state, and dead letters with their reasons."""
    chosen = _settings(settings, None, None, spool=spool, key_file=key_file)
    from cxr_transfer.pacs.care import status

    found = status(chosen)
    if json:
        tell(json_module.dumps(found, indent=2))
        return
    if (disk := found["disk"])["state"] != "ok":
        free, kept = disk["free_bytes"] // 2**20, found["bytes"] // 2**20
        what = {
            "full": f"The spool's disk is full ({free} MB are free); make room",
            "spool_full": f"The spool has reached spool_mb ({kept} MB are kept, with what is held "
            "free for answers); raise it, or keep less by keep_days",
            "read_only": f"The spool's disk cannot be written ({free} MB are free); mend that",
        }[disk["state"]]
        tell(
            f"{what}: nothing is lost, senders are told to send again later, and the node goes on "
            "by itself."
        )
    for name, number in found["states"].items():
        tell(f"{name:<12} {number}")
    for name, number in found["unsent"].items():
        tell(
            f"{number} answers wait for {name or 'a destination: none was named, see --answer-to'}"
        )
    for letter in found["dead_letters"]:
        where = f" (rule {letter['rule']})" if letter["rule"] else ""
        tell(f"dead letter {letter['uid_hash']}: {letter['reason']}{where}")
    if found["dead_letters"]:
        tell("'cxr pacs retry' lets them be tried again.")


def pacs_retry(
    settings: SettingsFile = None, spool: SpoolFolder = None, key_file: KeyFile = None
) -> None:
    """Let all dead letters be tried again; a node that runs takes them up by itself."""
    chosen = _settings(settings, None, None, spool=spool, key_file=key_file)
    from cxr_transfer.pacs.care import retry

    tell(f"{retry(chosen)} dead letters are tried again.")


def pacs_drain(
    settings: SettingsFile = None,
    answer_to: AnswerTo = None,
    spool: SpoolFolder = None,
    key_file: KeyFile = None,
) -> None:
    """Judge and send what is in the spool, without listening; then end.

    The exit code is 1 where something is left: dead letters, or answers for an archive that is
    away.
    """
    chosen = _settings(settings, answer_to, None, spool=spool, key_file=key_file)
    from cxr_transfer.pacs.care import status
    from cxr_transfer.pacs.node import Node

    warn(INTENDED_USE)
    if not chosen.destinations:
        warn(_NO_DESTINATION)
    _speak()
    Node(chosen, listens=False, stops_empty=True).run()
    found = status(chosen)
    left = sum(found["states"][name] for name in ("received", "judged", "dead"))
    log(f"{left} objects are left." if left else "Nothing is left.")
    if left:
        raise typer.Exit(1)


def pacs_doctor(settings: SettingsFile = None, json: AsJson = False) -> None:
    """Send a generated image the whole way through a node of its own, and show each step."""
    chosen = _settings(settings, None, None)
    from cxr_transfer.pacs.doctor import examine

    _hush()
    steps = []
    for step in examine(chosen):
        steps.append(step)
        if not json:
            tell(f"{'ok' if step['ok'] else 'FAILED':<7} {step['step']:<24} {step['note']}")
    works = all(step["ok"] for step in steps)
    if json:
        tell(json_module.dumps({"works": works, "steps": steps}, indent=2))
    else:
        tell(f"\n{INTENDED_USE}")
    if not works:
        raise typer.Exit(1)


def _settings(
    path: Path | None,
    answer_to: list[str] | None,
    model: str | None,
    **options: Any,  # noqa: ANN401
) -> NodeSettings:
    """Return settings of a file and of options; without the extra, say which one is missing."""
    packages = ("pynetdicom", "cryptography", "highdicom", "dicomweb_client", "prometheus_client")
    for package in packages:
        require(package, "the DICOM node")
    from cxr_transfer.pacs.rules import Rule
    from cxr_transfer.pacs.settings import destination, node_settings

    if answer_to:
        options["destinations"] = tuple(destination(text) for text in answer_to)
    if model:
        options["rules"] = (Rule(name="all", model=model),)
    return node_settings(path, **options)


def _speak() -> None:
    """Write the node's lines; libraries, which may quote what stands in an object, say nothing."""
    from cxr_transfer.serving.event_log import one_line_each

    one_line_each(logging.StreamHandler())
    _hush()


def _hush() -> None:
    warnings.simplefilter("ignore")
    for name in ("pydicom", "pynetdicom", "highdicom", "dicomweb_client", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
