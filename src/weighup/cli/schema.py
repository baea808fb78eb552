"""`weighup schema`: the JSON Schema of what `weighup check` writes, or of the rows it reads."""

from __future__ import annotations

from typing import Annotated

import typer


def schema(
    rows: Annotated[bool, typer.Option("--rows", help="The schema of an input row of --input instead.")] = False,
) -> None:
    """Print the JSON Schema of a verdict (one line of `weighup check --output`).

    Example: weighup schema > verdict.schema.json
    """
    import json

    if rows:
        from weighup.verify.rows import row_schema

        document = row_schema()
    else:
        from weighup.verify.contract import Verdict

        document = Verdict.model_json_schema()
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **document}
    typer.echo(json.dumps(document, ensure_ascii=False, indent=2))
