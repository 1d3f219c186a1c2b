"""What `cxr serve` does: the HTTP API and the page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxr_transfer.about import INTENDED_USE
from cxr_transfer.cli.options import CHECKPOINT_HELP
from cxr_transfer.cli.terminal import warn

SERVE_EXAMPLES = (
    "Examples:\n\n"
    "cxr serve  (then open http://127.0.0.1:8000)\n\n"
    "cxr serve --model model_3 --model runs/mine --port 9000\n\n"
    "cxr serve --model runs/mine --keep-answers answers  (watched by 'cxr accept monitor')\n\n"
    "CXR_TOKEN=... cxr serve --host 0.0.0.0 --allowed-host images.example.org\n\n"
    "cxr serve --tokens-file tokens.txt --audit-trail audit.jsonl  (NAME=TOKEN on each line)\n\n"
    "cxr serve --jobs jobs  (jobs for many images, which outlive a restart)\n\n"
    "cxr serve --port 8001 --shared shared --jobs jobs  (one of several behind a proxy)\n\n"
    "CXR_SERVE_QUEUE=128 cxr serve --settings server.toml --workers 4\n\n"
    "An option wins over the environment, the environment over the settings file."
)

_LIMITS, _ACCESS, _RECORDS, _JOBS = "Limits", "Who may ask", "What is kept", "Jobs"

Models = Annotated[
    list[str] | None,
    typer.Option(help=f"{CHECKPOINT_HELP} May be repeated; the first answers by default."),
]
Host = Annotated[
    str | None, typer.Option(help="Address; all but loopback need a token. Default: 127.0.0.1.")
]
Port = Annotated[int | None, typer.Option(help="0 takes any free one. Default: 8000.")]
SettingsFile = Annotated[
    Path | None, typer.Option(help="Settings file (TOML); its keys are these options' names.")
]
Token = Annotated[
    str | None,
    typer.Option(
        help="That clients must send. Better: the environment's CXR_TOKEN.",
        rich_help_panel=_ACCESS,
    ),
]
TokensFile = Annotated[
    Path | None,
    typer.Option(
        help="File of tokens with names, NAME=TOKEN on each line; the environment's CXR_TOKENS "
        "holds such pairs, too. The log shows names, never tokens.",
        rich_help_panel=_ACCESS,
    ),
]
AllowedHost = Annotated[
    list[str] | None,
    typer.Option(
        help="Name under which clients reach it; may be repeated.", rich_help_panel=_ACCESS
    ),
]
CorsOrigin = Annotated[
    list[str] | None,
    typer.Option(
        help="Web page elsewhere that may ask, such as https://viewer.example.org; may be "
        "repeated. Default: none.",
        rich_help_panel=_ACCESS,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Processes that decode images. Default: one for each core, 8 at most.",
        rich_help_panel=_LIMITS,
    ),
]
Queue = Annotated[
    int | None,
    typer.Option(help="Images that may wait. Default: 64.", rich_help_panel=_LIMITS),
]
LongestWait = Annotated[
    float | None,
    typer.Option(
        help="Seconds; an image that would wait longer is refused. Default: 2.",
        rich_help_panel=_LIMITS,
    ),
]
Always = Annotated[
    int | None,
    typer.Option(
        help="Images that may wait ten times as long. Default: 12.", rich_help_panel=_LIMITS
    ),
]
UploadMb = Annotated[
    int | None, typer.Option(help="Size of one file. Default: 64.", rich_help_panel=_LIMITS)
]
BodyMb = Annotated[
    int | None, typer.Option(help="Size of one request. Default: 128.", rich_help_panel=_LIMITS)
]
HeldMb = Annotated[
    int | None,
    typer.Option(help="Memory for all requests together. Default: 512.", rich_help_panel=_LIMITS),
]
Files = Annotated[
    int | None, typer.Option(help="Files in one request. Default: 32.", rich_help_panel=_LIMITS)
]
KeptMb = Annotated[
    int | None,
    typer.Option(
        help="Memory for images that are uploaded once. Default: 256.", rich_help_panel=_LIMITS
    ),
]
KeptSeconds = Annotated[
    float | None,
    typer.Option(
        help="Seconds for which such an image is kept. Default: 600.", rich_help_panel=_LIMITS
    ),
]
SamplesMb = Annotated[
    int | None,
    typer.Option(
        help="Memory for decoded images that are being looked at. Default: 256.",
        rich_help_panel=_LIMITS,
    ),
]
KeepAnswers = Annotated[
    Path | None,
    typer.Option(
        help="Folder in which answers are kept for 'cxr accept monitor': scores and hashes, no "
        "pictures, no names.",
        rich_help_panel=_RECORDS,
    ),
]
Trail = Annotated[
    Path | None,
    typer.Option(
        help="File to which each request is added: who by name, when, which route, which images "
        "by hash, which status.",
        rich_help_panel=_RECORDS,
    ),
]
Shared = Annotated[
    Path | None,
    typer.Option(
        help="Folder on which several servers behind one proxy work: uploaded images and reports; "
        "the folder of --jobs is theirs together, too.",
        rich_help_panel=_RECORDS,
    ),
]
Jobs = Annotated[
    Path | None,
    typer.Option(
        help="Folder in which jobs for many images are kept until they are done, with the images.",
        rich_help_panel=_JOBS,
    ),
]
JobsAtOnce = Annotated[
    int | None,
    typer.Option(
        help="Jobs that are not done; tokens share them evenly. Default: 1000.",
        rich_help_panel=_JOBS,
    ),
]
JobsMb = Annotated[
    int | None,
    typer.Option(help="Size of all jobs on the disk. Default: 4096.", rich_help_panel=_JOBS),
]
JobsKeptSeconds = Annotated[
    float | None,
    typer.Option(
        help="Seconds for which a job's answers are kept after its end. Default: 86400.",
        rich_help_panel=_JOBS,
    ),
]
WebhookUrl = Annotated[
    list[str] | None,
    typer.Option(
        help="Address that may be told of the end of a job; may be repeated. Default: none.",
        rich_help_panel=_JOBS,
    ),
]
WebhookSecretFile = Annotated[
    Path | None,
    typer.Option(
        help="File with the secret that signs it, in base64; or the environment's "
        "CXR_WEBHOOK_SECRET.",
        rich_help_panel=_JOBS,
    ),
]


def serve(
    model: Models = None,
    host: Host = None,
    port: Port = None,
    settings: SettingsFile = None,
    token: Token = None,
    tokens_file: TokensFile = None,
    allowed_host: AllowedHost = None,
    cors_origin: CorsOrigin = None,
    workers: Workers = None,
    queue: Queue = None,
    longest_wait_s: LongestWait = None,
    always: Always = None,
    upload_mb: UploadMb = None,
    body_mb: BodyMb = None,
    held_mb: HeldMb = None,
    files: Files = None,
    kept_mb: KeptMb = None,
    kept_s: KeptSeconds = None,
    samples_mb: SamplesMb = None,
    keep_answers: KeepAnswers = None,
    audit_trail: Trail = None,
    shared: Shared = None,
    jobs: Jobs = None,
    jobs_at_once: JobsAtOnce = None,
    jobs_mb: JobsMb = None,
    jobs_kept_s: JobsKeptSeconds = None,
    webhook_url: WebhookUrl = None,
    webhook_secret_file: WebhookSecretFile = None,
) -> None:
    """Serve models over HTTP, with a page for a reading room at the root."""
    try:
        from cxr_transfer.serving.server import serve as run
    except ModuleNotFoundError as error:
        from cxr_transfer.extras import missing_package

        raise missing_package(error.name, "serving") or error from None
    warn(INTENDED_USE)
    run(
        model or (),
        host,
        port,
        token,
        settings_file=settings,
        tokens_file=tokens_file,
        allowed_hosts=allowed_host,
        cors_origins=cors_origin,
        workers=workers,
        queue=queue,
        longest_wait_s=longest_wait_s,
        always=always,
        upload_mb=upload_mb,
        body_mb=body_mb,
        held_mb=held_mb,
        files=files,
        kept_mb=kept_mb,
        kept_s=kept_s,
        samples_mb=samples_mb,
        keep_answers=keep_answers,
        audit_trail=audit_trail,
        shared=shared,
        jobs=jobs,
        jobs_at_once=jobs_at_once,
        jobs_mb=jobs_mb,
        jobs_kept_s=jobs_kept_s,
        webhook_urls=webhook_url,
        webhook_secret_file=webhook_secret_file,
    )
