"""The command line: which commands there are; each is in a file of :mod:`bob.commands`.

Nothing heavy is imported before a command needs it, so that help and lists answer at once.
"""

import sys

import typer

from bob.commands.boards import leaderboard_command, plot_command
from bob.commands.cancel import cancel_command
from bob.commands.checks import certify_command, data_check_command
from bob.commands.compare import compare_command
from bob.commands.diff import diff_command
from bob.commands.export import export_command
from bob.commands.fsck import fsck_command
from bob.commands.importing import import_command
from bob.commands.lists import list_command, show_command
from bob.commands.logs import logs_command
from bob.commands.merge import merge_command
from bob.commands.plan import plan_command
from bob.commands.prepare import prepare_command
from bob.commands.pretrain import pretrain_command
from bob.commands.retry import retry_command
from bob.commands.run import run_command
from bob.commands.status import status_command
from bob.commands.work import work_command

SPREAD = ("--backbones", "--tasks", "--datasets", "--seeds", "--set", "--probe")
"""Options that take several values without being repeated."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: half the time to the first line
    help="Battle of the Backbones: which pretrained vision backbone should I use?",
)
data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What there is of the data on this machine.")
app.add_typer(data_app, name="data")
app.command("run")(run_command)
app.command("plan")(plan_command)
app.command("prepare")(prepare_command)
app.command("pretrain")(pretrain_command)
app.command("list")(list_command)
app.command("show")(show_command)
app.command("leaderboard")(leaderboard_command)
app.command("plot")(plot_command)
app.command("compare")(compare_command)
app.command("certify")(certify_command)
app.command("work", hidden=True)(work_command)
app.command("status")(status_command)
app.command("logs")(logs_command)
app.command("retry")(retry_command)
app.command("cancel")(cancel_command)
app.command("diff")(diff_command)
app.command("export")(export_command)
app.command("fsck")(fsck_command)
app.command("merge")(merge_command)
app.command("import")(import_command)
data_app.command("check")(data_check_command)


def main() -> None:
    """Entry point: lists after an option need no repeated flag, and mistakes are lines, not tracebacks."""
    app(args=spread(sys.argv[1:]))


def spread(arguments: list[str]) -> list[str]:
    """Let ``--tasks A B`` mean ``--tasks A --tasks B``, as people write it.

    >>> spread(["run", "--tasks", "a", "b", "--device", "cpu"])
    ['run', '--tasks', 'a', '--tasks', 'b', '--device', 'cpu']
    """
    spreading, repeated, result = "", 0, list[str]()
    for argument in arguments:
        if argument.startswith("--"):
            spreading = argument if argument in SPREAD else ""
            repeated = 0
            result.append(argument)
            continue
        if spreading and repeated:
            result.append(spreading)
        repeated += 1
        result.append(argument)
    return result


if __name__ == "__main__":
    main()
