"""`keeper schema`: for editors."""

import typer

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.command()
def schema() -> None:
    """Print the JSON schema of the configuration, for editors.

    It ships as config/keeper.schema.json; `keeper init` writes the line that names it.
    """
    from keeper.config.editors import schema_text

    print(schema_text(), end="")
