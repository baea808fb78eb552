"""`weighup store add|search|stats|export`: keep documents as dated evidence, look into them, take them out again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from weighup.models.types import Encoder
    from weighup.retrieve.rowfiles import Broken

app = typer.Typer(
    help="The evidence store: add documents, search them as of a date, count and export them.\n\n"
    "Example: weighup store add news/ --source Reuters",
    no_args_is_help=True,
    rich_markup_mode=None,
)

StorePath = Annotated[
    Path | None,
    typer.Option("--store", help="The store's file. Default: setting retrieve.store, else the user's data folder."),
]
_SHOWN = 20  # broken lines shown one by one


@app.command()
def add(
    files: Annotated[list[Path], typer.Argument(help="Files or folders; .jsonl .csv .parquet .txt .html .pdf .rss …")],
    store: StorePath = None,
    source: Annotated[str | None, typer.Option(help="Who published documents that do not say so.")] = None,
    date: Annotated[str | None, typer.Option(help="When documents that do not say so were published.")] = None,
    no_vectors: Annotated[bool, typer.Option("--no-vectors", help="Index words only: many times faster.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Add documents. Copies of what is there already are left out; broken lines are reported and the rest goes on.

    Rows have `text` and optionally id, title, url, date, source, lang, credibility. Undated documents are kept but
    never used for a claim that has a date. Ends with 1 if anything could not be read.

    Example: weighup store add articles.jsonl.gz report.pdf --date 2024-05-31
    """
    from weighup.console import progress
    from weighup.dates import parse_published
    from weighup.errors import JobFailed, ModelMissing
    from weighup.retrieve.ingest import files_in, read_documents
    from weighup.retrieve.store import EvidenceStore

    found = files_in(files)
    published = None if date is None else parse_published(date, where="--date")
    try:
        encoder = None if no_vectors else _encoder()
    except ModelMissing as error:
        raise ModelMissing(f"{error}, or index words only with --no-vectors") from error
    broken = 0

    def report(item: Broken) -> None:
        nonlocal broken
        broken += 1
        if broken <= _SHOWN:
            typer.echo(f"weighup: {item}", err=True)

    with EvidenceStore.open(_path(store), encoder=encoder) as opened:
        total = sum(file.stat().st_size for file in found)
        with progress("adding documents", total, unit="bytes", show=not quiet) as advance:
            documents = read_documents(
                found, on_broken=report, source=source, published=published, on_bytes=lambda count: advance(count)
            )
            result = opened.add(documents)
        typer.echo(
            f"added {result.added:,} documents ({result.passages:,} passages, {result.vectors:,} vectors) to "
            f"{opened.path}"
        )
    left = [
        f"{count:,} {what}"
        for count, what in (
            (result.duplicates, "already there"),
            (result.near_duplicates, "near-copies left out"),
            (result.redated, "copies gave an earlier date"),
            (result.empty, "without text"),
            (result.undated, "added without a date"),
        )
        if count
    ]
    if left:
        typer.echo("; ".join(left))
    if broken > _SHOWN:
        typer.echo(f"weighup: and {broken - _SHOWN:,} more could not be read", err=True)
    if broken:
        raise JobFailed(f"{broken:,} of the lines or files could not be read; the others are in the store")


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What to look for, in plain words.")],
    store: StorePath = None,
    before: Annotated[
        str | None, typer.Option(help="Only what was published before this date (exclusive); undated never.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000, help="How many passages at most.")] = 10,
    no_vectors: Annotated[bool, typer.Option("--no-vectors", help="By words only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a passage.")] = False,
) -> None:
    """Show the best passages for a query, as of a date if one is given.

    Example: weighup store search "vaccine trial halted" --before 2021-03-01
    """
    import json

    from weighup.console import table
    from weighup.dates import iso, parse_bound
    from weighup.errors import ModelMissing
    from weighup.retrieve.store import EvidenceStore

    bound = None if before is None else parse_bound(before, where="--before")
    with EvidenceStore.open(_path(store), encoder=None, create=False) as opened:
        if not no_vectors and opened.stats()["vectors"]:
            try:
                opened.encoder = _encoder()
            except ModelMissing as error:
                typer.echo(f"weighup: searching words only: {error}", err=True)
        [found] = opened.search([query], before=bound, limit=limit)
    if as_json:
        for item in found:
            row = {
                "text": item.text,
                "title": item.title,
                "url": item.url,
                "date": iso(item.published),
                "source": item.source,
                "credibility": item.credibility,
                "score": item.score,
            }
            typer.echo(json.dumps(row, ensure_ascii=False))
    elif found:
        rows = [(f"{item.score:.2f}", iso(item.published) or "undated", item.source, item.text) for item in found]
        table(("score", "date", "source", "passage"), rows)
    else:
        typer.echo("nothing found" + (f" from before {before}" if before else ""), err=True)


@app.command()
def stats(
    store: StorePath = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Count documents, passages and vectors, and show their dates and sources.

    Example: weighup store stats --json
    """
    import json

    from weighup.console import table
    from weighup.retrieve.store import EvidenceStore

    with EvidenceStore.open(_path(store), create=False) as opened:
        counted = opened.stats()
    if as_json:
        typer.echo(json.dumps(counted, ensure_ascii=False))
        return
    sources = counted.pop("sources")
    table(("what", "value"), [(name, str(value) if value is not None else None) for name, value in counted.items()])
    if isinstance(sources, dict) and sources:
        table(("source", "documents"), list(sources.items()))


@app.command()
def export(
    out: Annotated[Path, typer.Argument(help="The file to write, .jsonl or .jsonl.gz.")],
    store: StorePath = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Write all documents as JSON lines, which `weighup store add` reads back.

    Example: weighup store export evidence.jsonl.gz
    """
    from weighup.console import progress
    from weighup.errors import InvalidInput
    from weighup.retrieve.store import EvidenceStore

    if out.exists() and not force:
        raise InvalidInput(f"{out}: is there already; name another file or add --force")
    with EvidenceStore.open(_path(store), create=False) as opened:
        total = opened.stats()["documents"]
        with progress("exporting", total if isinstance(total, int) else None, show=not quiet) as advance:
            count = opened.export(out, on_progress=advance)
    typer.echo(f"wrote {count:,} documents to {out}")


def _path(given: Path | None) -> Path:
    from weighup.retrieve.store import default_path

    return given or default_path()


def _encoder() -> Encoder:
    from weighup.models.onnx_encoder import OnnxEncoder
    from weighup.settings import load_settings

    return OnnxEncoder.load(load_settings())
