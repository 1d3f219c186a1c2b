"""The commands, and how ``cxr`` ends: every error in one line, with its exit code.

Everything that needs tensors is imported inside its command, so that ``cxr --help`` is instant.
"""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from cxr_transfer.about import INTENDED_USE, __version__
from cxr_transfer.cli import stopping
from cxr_transfer.cli.accept import (
    ACCEPT_MONITOR_EXAMPLES,
    ACCEPT_PLAN_EXAMPLES,
    ACCEPT_RUN_EXAMPLES,
    ACCEPT_VERIFY_EXAMPLES,
    accept_monitor,
    accept_plan,
    accept_run,
    accept_verify,
)
from cxr_transfer.cli.audit import AUDIT_EXAMPLES, INSPECT_EXAMPLES, audit, audit_inspect
from cxr_transfer.cli.card import CARD_EXAMPLES, card
from cxr_transfer.cli.compare import COMPARE_EXAMPLES, compare
from cxr_transfer.cli.data_check import DATA_CHECK_EXAMPLES, data_check
from cxr_transfer.cli.data_prepare import DATA_PREPARE_EXAMPLES, data_prepare
from cxr_transfer.cli.default_command import DEFAULT, DefaultCommandGroup
from cxr_transfer.cli.deidentify import DEIDENTIFY_EXAMPLES, deidentify
from cxr_transfer.cli.doctor import DOCTOR_EXAMPLES, doctor
from cxr_transfer.cli.evaluate import EVALUATE_EXAMPLES, evaluate
from cxr_transfer.cli.explain import EXPLAIN_EXAMPLES, explain
from cxr_transfer.cli.export import EXPORT_EXAMPLES, export
from cxr_transfer.cli.global_options import globals_first, started
from cxr_transfer.cli.pacs import (
    PACS_DOCTOR_EXAMPLES,
    PACS_DRAIN_EXAMPLES,
    PACS_RETRY_EXAMPLES,
    PACS_RUN_EXAMPLES,
    PACS_STATUS_EXAMPLES,
    pacs_doctor,
    pacs_drain,
    pacs_retry,
    pacs_run,
    pacs_status,
)
from cxr_transfer.cli.predict import PREDICT_EXAMPLES, predict
from cxr_transfer.cli.readers import READERS_EXAMPLES, readers
from cxr_transfer.cli.recipe import (
    RECIPE_LIST_EXAMPLES,
    RECIPE_NEW_EXAMPLES,
    RECIPE_SCHEMA_EXAMPLES,
    RECIPE_SHOW_EXAMPLES,
    recipe_list,
    recipe_new,
    recipe_schema,
    recipe_show,
)
from cxr_transfer.cli.report import REPORT_EXAMPLES, report
from cxr_transfer.cli.screen import SCREEN
from cxr_transfer.cli.serve import SERVE_EXAMPLES, serve
from cxr_transfer.cli.study import STUDY_EXAMPLES, study
from cxr_transfer.cli.train import TRAIN_EXAMPLES, train
from cxr_transfer.cli.validate import VALIDATE_EXAMPLES, validate
from cxr_transfer.errors import CxrError
from cxr_transfer.extras import missing_package
from cxr_transfer.text import for_terminal

app = typer.Typer(
    name="cxr",
    help=f"Transfer learning on chest radiographs, and how far to trust it.\n\n{INTENDED_USE}",
    epilog="Exit codes: 0 done; 1 done, some inputs failed; 2 usage; 3 data; 4 model; 5 machine.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
# Click's own base of what is wrong with a command line: Typer brings its own copy of Click, or not.
_USAGE: type[Exception] = typer.BadParameter.__bases__[0]
data_app = typer.Typer(no_args_is_help=True, help="Look at archives, and write their manifests.")
audit_app = typer.Typer(
    cls=DefaultCommandGroup,
    help="Look for reasons not to believe a model's figure ('cxr audit SUBJECT').",
)
recipe_app = typer.Typer(no_args_is_help=True, help="Show recipes, and write one of your own.")
pacs_app = typer.Typer(no_args_is_help=True, help="Run a DICOM node beside an archive.")
accept_app = typer.Typer(no_args_is_help=True, help="Accept a model at one's own place, and watch.")
app.command(epilog=STUDY_EXAMPLES)(study)
app.command(epilog=TRAIN_EXAMPLES)(train)
app.command(epilog=EVALUATE_EXAMPLES)(evaluate)
app.command(epilog=COMPARE_EXAMPLES)(compare)
app.command(epilog=VALIDATE_EXAMPLES)(validate)
app.add_typer(audit_app, name="audit")
audit_app.command(DEFAULT, epilog=AUDIT_EXAMPLES)(audit)
audit_app.command("inspect", epilog=INSPECT_EXAMPLES)(audit_inspect)
app.add_typer(accept_app, name="accept")
accept_app.command("plan", epilog=ACCEPT_PLAN_EXAMPLES)(accept_plan)
accept_app.command("run", epilog=ACCEPT_RUN_EXAMPLES)(accept_run)
accept_app.command("verify", epilog=ACCEPT_VERIFY_EXAMPLES)(accept_verify)
accept_app.command("monitor", epilog=ACCEPT_MONITOR_EXAMPLES)(accept_monitor)
app.command(epilog=READERS_EXAMPLES)(readers)
app.command(epilog=CARD_EXAMPLES)(card)
app.command(epilog=REPORT_EXAMPLES)(report)
app.command(epilog=PREDICT_EXAMPLES)(predict)
app.command(epilog=EXPLAIN_EXAMPLES)(explain)
app.command(epilog=EXPORT_EXAMPLES)(export)
app.command(epilog=SERVE_EXAMPLES)(serve)
app.add_typer(pacs_app, name="pacs")
pacs_app.command("run", epilog=PACS_RUN_EXAMPLES)(pacs_run)
pacs_app.command("status", epilog=PACS_STATUS_EXAMPLES)(pacs_status)
pacs_app.command("retry", epilog=PACS_RETRY_EXAMPLES)(pacs_retry)
pacs_app.command("drain", epilog=PACS_DRAIN_EXAMPLES)(pacs_drain)
pacs_app.command("doctor", epilog=PACS_DOCTOR_EXAMPLES)(pacs_doctor)
app.command(epilog=DEIDENTIFY_EXAMPLES)(deidentify)
app.add_typer(data_app, name="data")
data_app.command("check", epilog=DATA_CHECK_EXAMPLES)(data_check)
data_app.command("prepare", epilog=DATA_PREPARE_EXAMPLES)(data_prepare)
app.add_typer(recipe_app, name="recipe")
recipe_app.command("list", epilog=RECIPE_LIST_EXAMPLES)(recipe_list)
recipe_app.command("show", epilog=RECIPE_SHOW_EXAMPLES)(recipe_show)
recipe_app.command("new", epilog=RECIPE_NEW_EXAMPLES)(recipe_new)
recipe_app.command("schema", epilog=RECIPE_SCHEMA_EXAMPLES)(recipe_schema)
app.command(epilog=DOCTOR_EXAMPLES)(doctor)


def run() -> None:
    """Run the command that was typed, and exit; every error is one line on standard error."""
    # A file's name may be no text at all; it is still the answer's.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")
    try:
        sys.argv[1:] = globals_first(sys.argv[1:])
        code = app(standalone_mode=False)
    except CxrError as error:
        _leave(error.message, error.code, error.exit_code)
    except _USAGE as error:
        _leave(_usage(error), "usage", 2)
    except ModuleNotFoundError as error:
        missing = missing_package(error.name, "this command")
        if missing is None:
            raise
        _leave(missing.message, missing.code, missing.exit_code)
    except typer.Abort:
        _leave("Stopped.", "stopped", 1)
    except MemoryError:
        _leave("Expected more memory than there is; use fewer images.", "memory", 5)
    except RuntimeError as error:
        if "out of memory" not in str(error) and "not enough memory" not in str(error):
            raise
        _leave("Expected more memory than the device has; use smaller batches.", "memory", 5)
    except OSError as error:
        reason = error.strerror or str(error)
        _leave(f"Expected to read and write, but got: {reason} {error.filename or ''}", "system", 5)
    if code == stopping.EXIT_CODE:
        stopping.leave()
    if stopping.asked():
        stopping.leave("Done before it could be stopped.")
    sys.exit(code)


def _leave(message: str, code: str, exit_code: int) -> NoReturn:
    if stopping.asked():  # A library may have taken Ctrl-C for a fault of what it was reading.
        stopping.leave()
    if message:
        with suppress(CxrError):  # It may be the log file that cannot be written.
            SCREEN.record(f"{message.rstrip()} [{code}]")
        sys.stderr.write(f"cxr: {for_terminal(message.rstrip())} [{code}]\n")
    sys.exit(exit_code)


def _usage(error: Exception) -> str:
    """Return what Click has against a command line; "" where it has shown the help instead."""
    message = error.format_message()  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    if not message or context is None:
        return str(message)
    path = " ".join(context.command_path.split())  # the command that is meant has no name
    return f"{message.rstrip('.')}; try '{path} --help'."


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cxr-transfer {__version__}")
        raise typer.Exit


@app.callback()
def front(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Show answers, notices and errors alone.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", help="Show also where it is computed, and the seconds of each phase."
        ),
    ] = False,
    log_file: Annotated[
        Path | None,
        typer.Option(
            "--log-file",
            help="File to which every line that is said is added, with the time, whatever is "
            "shown; answers are not. These three may also stand behind the command.",
        ),
    ] = None,
) -> None:
    """Set up what every command has in common."""
    if quiet and verbose:
        raise typer.BadParameter("choose one of --quiet and --verbose")
    SCREEN.set_up(quiet=quiet, verbose=verbose, log_file=log_file)
    SCREEN.detail(started())
