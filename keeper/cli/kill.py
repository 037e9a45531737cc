"""`keeper kill`."""

import typer

from keeper.cli.output import ConfigOption

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def kill(config: ConfigOption = None) -> None:
    """Stop signing, and end the keeper.

    It does not start again before `keeper resume`. What was signed before may still be mined; it is
    listed, and the keeper that starts next goes on with it.
    """
    from keeper.chain.kill_file import Order
    from keeper.cli.ordering import give

    give(Order.KILL, config)
