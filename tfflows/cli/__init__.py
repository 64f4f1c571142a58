"""The command line: `parser` says what it accepts, `commands` what each command does."""

import io
import os
import sys
from collections.abc import Sequence

from tfflows.cli import commands
from tfflows.cli.parser import make_parser
from tfflows.errors import DivergedError, TfflowsError, explained_os_errors

# The errors whose message is one sentence for the user; any other is a bug, whose traceback is shown.
EXPECTED = (TfflowsError, OSError, MemoryError)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        argv: the arguments; by default those of the process.

    Returns:
        The exit code: 0, 1 where training diverged, 2 for a wrong argument, 130 for an interruption, 141 where nobody
            reads what training prints any more.
    """
    arguments = make_parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: names of files need not be in its encoding
    training = arguments.command is commands.train
    hint = ": the same command with --resume continues after the last whole epoch" if training else ""
    try:
        with explained_os_errors():
            arguments.command(arguments)
            sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"\ntfflows: interrupted{hint}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # as of `tfflows list | head`; Python still flushes its output when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if training:
            print(f"tfflows: stopped, since nothing reads what it prints{hint}", file=sys.stderr)
            return 141
    except EXPECTED as error:
        if arguments.debug:
            raise
        print(f"tfflows: {error}", file=sys.stderr)
        return 1 if isinstance(error, DivergedError) else 2
    return 0
