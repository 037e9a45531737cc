"""`keeper resume`."""

import typer

from keeper.cli.output import ConfigOption

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def resume(config: ConfigOption = None) -> None:
    """End a pause or a kill.

    After a kill, start the keeper yourself.
    """
    from keeper.chain.kill_file import Order
    from keeper.cli.ordering import give

    give(Order.RUN, config)
