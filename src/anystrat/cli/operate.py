"""Commands for strategies: `pause`, `resume`, `stop`, `enable` differ in a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from anystrat.cli.options import as_json, configuration, verbosity
from anystrat.cli.options import part as part_option


def operation(name: str, summary: str, details: str) -> click.Command:
    """The command of this name."""

    @click.command(
        name,
        short_help=summary,
        help=f"{summary} {details}\n\n\b\nanystrat {name} live.yaml --strategy mom\nanystrat {name} live.yaml --all",
    )
    @configuration
    @click.option("--strategy", metavar="ID", help="This strategy, on all of its brokers.")
    @click.option("--broker", metavar="NAME", help="Only its executor on this broker.")
    @click.option("--all", "everything", is_flag=True, help="Every strategy.")
    @part_option
    @as_json
    @verbosity
    @click.pass_context
    def command(
        context: click.Context,
        config: Path,
        strategy: str | None,
        broker: str | None,
        part: int | None,
        *,
        everything: bool,
        as_json: bool,
    ) -> None:
        from anystrat.cli.failures import say, say_warning
        from anystrat.cli.run_summary import strategies_table
        from anystrat.cli.running_service import RISK_HALT, running_services
        from anystrat.cli.screen import print_json

        if (strategy is None) is not everything:
            raise click.UsageError("Name one strategy with --strategy, or all of them with --all.")
        if broker is not None and strategy is None:
            raise click.UsageError("--broker goes with --strategy.")
        named = {} if broker is None else {"broker": broker}
        order = {"operation": name, **({"all": True} if strategy is None else {"strategy": strategy, **named})}
        with running_services(config, part) as services:
            answers = services.each(lambda service: service.post("/v1/commands", order))
            asks = name in {"resume", "enable"}
            killed = asks and any(services.clients[each].get("/v1/kill")["on"] for each in answers)
            complete = services.complete
        answer: dict[str, Any] = {
            "operation": name,
            "done": all(each["done"] for each in answers.values()),
            "strategies": [one for each in answers.values() for one in each["strategies"]],
        }
        if as_json:
            print_json({"schema_version": 1, **answer, "killed": killed})
        else:
            strategies_table(answer["strategies"])
            if not answer["done"]:
                say("It waits behind ticks; look again with: anystrat status")
        if killed:
            say_warning("the kill switch is on: nothing is sent until `anystrat kill off`")
            context.exit(RISK_HALT)
        if not complete:
            context.exit(1)

    return command
