"""`keeper forecast`: breach probabilities of the configured positions; their fit and scores."""

import typer

from keeper.cli.scoring import fit, score

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Fit the breach probabilities on price histories, and score them.",
)
app.command()(score)
app.command()(fit)
