"""The directive `command-line`: the help of every command of `tfflows`, from its parser."""

import argparse

from docutils import nodes
from docutils.parsers.rst import Directive


class CommandLine(Directive):
    """One section for each command."""

    def run(self):
        """Returns the sections."""
        from tfflows.cli.parser import make_parser

        actions = make_parser()._actions
        commands = next(action for action in actions if isinstance(action, argparse._SubParsersAction))
        titles = {choice.dest: choice.help for choice in commands._choices_actions}
        result = []
        for name, parser in commands.choices.items():
            section = nodes.section(ids=[f"tfflows-{name}"], names=[f"tfflows {name}"])
            section += nodes.title(text=f"tfflows {name}")
            section += nodes.paragraph(text=f"{(titles[name] or '').capitalize()}.")
            parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=88, max_help_position=28)
            section += nodes.literal_block(text=parser.format_help(), language="text")
            self.state.document.note_explicit_target(section)
            result.append(section)
        return result


def setup(app):
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True}
