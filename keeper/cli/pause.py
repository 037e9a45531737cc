"""`keeper pause`."""

import typer

from keeper.cli.output import ConfigOption

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def pause(config: ConfigOption = None) -> None:
    """Stop signing; watching and alerts go on.

    Effective before the next signature, with a keeper running or not, and until `keeper resume`.
    Ends with 0 once the running keeper has confirmed it.
    """
    from keeper.chain.kill_file import Order
    from keeper.cli.ordering import give

    give(Order.PAUSE, config)
