"""`weighup moe train|trace|report|compare`: mixture-of-experts models and what their routers do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weighup.cli import moe_use
from weighup.cli.rows import Format, Out

if TYPE_CHECKING:
    from weighup.moe.tiny import TinyConfig

app = typer.Typer(
    help="Train, trace, compare, steer and shrink mixture-of-experts models, ours and those of transformers.\n\n"
    "Example: weighup moe trace --out trace.parquet\n\nNeeds pip install 'weighup[train]'.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Data = Annotated[
    Path | None,
    typer.Option("--data", help="Texts: .jsonl, .csv or .parquet with text, optionally domain; else the five domains."),
]
Seed = Annotated[int, typer.Option("--seed", help="Of weights and batches.")]
Steps = Annotated[int, typer.Option("--steps", min=1, help="Training steps.")]
Sizes = Annotated[
    list[str] | None,
    typer.Option("--size", help="A size of the model, several times: width=64, layers=3, n_experts=8, k=2, hidden=64."),
]
Options = Annotated[
    list[str] | None, typer.Option("--option", help="An option of the router, several times: balance=0.01.")
]


@app.command()
def train(
    out: Annotated[Path, typer.Option("--out", help="Folder for the checkpoint.")],
    router: Annotated[str, typer.Option("--router", help="topk, topp, deepseek, rmoe, coe, …")] = "topk",
    data: Data = None,
    size: Sizes = None,
    option: Options = None,
    steps: Steps = 1500,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Windows of a step.")] = 32,
    rate: Annotated[float, typer.Option("--rate", help="Greatest learning rate.")] = 3e-3,
    seed: Seed = 0,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Cores to use; default all.")] = None,
) -> None:
    """Train a small byte-level model with any router. A run that was stopped goes on where it was.

    Example: weighup moe train --router deepseek --steps 1500 --out models/deepseek
    """
    moe_use.ready()
    import torch

    from weighup.console import table
    from weighup.moe.cost import cost
    from weighup.moe.export import save
    from weighup.moe.inputs import corpus
    from weighup.moe.lab import Training, losses
    from weighup.moe.lab import train as fit
    from weighup.moe.tiny import TinyMoELM

    torch.set_num_threads(threads or torch.get_num_threads())
    config = _config(router, size, option)
    texts = corpus(data, moe_use.data_folder())
    training = Training(steps=steps, batch=batch, rate=rate, warmup=max(1, min(100, steps // 10)), seed=seed)
    torch.manual_seed(seed)
    model = TinyMoELM(config)
    state = out / ".training.pt"
    log = fit(model, texts, training, state=state, show=None, label=f"training {router}")
    found = losses(model, texts, "test")
    spent = cost(model, context=config.context)
    save(
        model,
        out,
        card={
            "router": router,
            "data": {"name": texts.name, "domains": list(texts.domains), "fingerprint": texts.fingerprint},
            "training": {"steps": steps, "batch": batch, "rate": rate, "seed": seed, "seconds": round(log.seconds, 1)},
            "test_loss": {name: round(value, 4) for name, value in found.items()},
        },
    )
    state.unlink(missing_ok=True)
    table(("domain", "test loss (nats a byte)"), [(name, f"{value:.3f}") for name, value in found.items()])
    typer.echo(f"{spent.total:,} parameters, {spent.active:,.0f} active; {log.seconds:.0f} s; wrote {out}")


@app.command()
def trace(
    out: Annotated[Path, typer.Option("--out", help="The trace, a .parquet file.")],
    model: moe_use.Model = Path("shipped"),
    data: Data = None,
    windows: Annotated[int, typer.Option("--windows", min=1, help="Windows a domain, at most.")] = 40,
    length: Annotated[int, typer.Option("--length", min=2, help="Tokens of a window.")] = 128,
    logits: Annotated[bool, typer.Option("--logits/--no-logits", help="Keep the router's logits too.")] = True,
) -> None:
    """Record which experts every token used, layer by layer, and print load, entropy and co-activation.

    Example: weighup moe trace models/deepseek --out trace.parquet
    """
    moe_use.ready()
    import numpy as np
    import torch

    from weighup.console import progress
    from weighup.errors import InvalidInput
    from weighup.moe.export import load_any
    from weighup.moe.inputs import corpus, domains_of, reads_bytes
    from weighup.moe.inputs import windows as made
    from weighup.moe.report import report as told
    from weighup.moe.running import logits_of
    from weighup.moe.trace import pieces, tracing

    if out.suffix != ".parquet":
        raise InvalidInput(f"--out {out}: its name must end with .parquet")
    folder = moe_use.named(model)
    one = load_any(folder)
    source = data if data is not None and not reads_bytes(one) else corpus(data, moe_use.data_folder())
    parts = list(made(one, folder, source, length=length, most=windows))
    names = domains_of(parts)
    tokens = sum(len(ids) * length for ids, _ in parts)
    with (
        torch.no_grad(),
        tracing(one, names=names, logits=logits, out=out) as recorder,
        progress("tracing", tokens) as advance,
    ):
        for ids, domain in parts:
            recorder.labels = np.full(len(ids), names.index(domain))
            recorder.tokens = ids[:, :-1]
            logits_of(one, torch.from_numpy(ids[:, :-1].copy()))
            advance(len(ids) * length)
    _print_report(told(pieces(out)), "table", None)
    typer.echo(f"{tokens:,} tokens; wrote {out}")


@app.command()
def report(
    trace: Annotated[Path, typer.Argument(help="A trace: weighup moe trace.")],
    before: Annotated[
        Path | None, typer.Option("--before", help="A trace of the same tokens by an earlier checkpoint.")
    ] = None,
    segments: Annotated[
        list[int] | None,
        typer.Option(
            "--segment", min=1, help="Local routing consistency of segments of so many tokens; several times."
        ),
    ] = None,
    picture: Annotated[str, typer.Option("--picture", help="For --out x.svg: load, domains or together.")] = "load",
    form: Format = "table",
    out: Out = None,
) -> None:
    """Load, entropy, specialisation by domain, how long experts stay; fluctuation between two checkpoints; with
    `--segment` how well one set of experts (SRP) or a cache of them (SCH) would serve a stretch of text.

    \b
    Examples:
      weighup moe report trace.parquet
      weighup moe report trace.parquet --picture domains --out domains.svg
      weighup moe report trace.parquet --segment 8 --segment 64
    """
    moe_use.ready()
    if segments:
        from weighup.cli.rows import emit
        from weighup.moe.control.local_consistency import report as consistency
        from weighup.moe.trace import RoutingTrace

        rows = consistency(RoutingTrace.read(trace), segments=tuple(segments))
        emit(rows, title="local routing consistency", form=form, out=out)
        return
    from weighup.moe.report import fluctuation
    from weighup.moe.report import report as told
    from weighup.moe.trace import RoutingTrace, pieces

    found = told(pieces(trace))
    changed = None
    if before is not None:
        changed = fluctuation(RoutingTrace.read(before), RoutingTrace.read(trace))
    _print_report(found, form, out, picture, None if changed is None else changed.tolist())


@app.command()
def compare(
    routers: Annotated[
        str, typer.Option("--routers", help="Names with commas; top1, top2 … are top-k.")
    ] = "top2,topp,deepseek",
    data: Data = None,
    size: Sizes = None,
    steps: Steps = 600,
    seeds: Annotated[str, typer.Option("--seeds", help="Numbers with commas.")] = "0,1,2",
    form: Format = "table",
    out: Out = None,
) -> None:
    """Train several routers alike and compare loss, activated experts, FLOPs and seconds over seeds.

    Example: weighup moe compare --routers top2,topp,deepseek --steps 600 --format markdown
    """
    moe_use.ready()
    from weighup.cli.rows import emit
    from weighup.errors import InvalidInput
    from weighup.moe.comparison import compare_routers
    from weighup.moe.inputs import corpus
    from weighup.moe.lab import SMALL, Training

    try:
        drawn = tuple(int(one) for one in seeds.split(","))
    except ValueError:
        raise InvalidInput(f"--seeds {seeds}: numbers with commas are needed") from None
    names = [name.strip() for name in routers.split(",") if name.strip()]
    config = _config("topk", size, None, SMALL)
    training = Training(steps=steps, warmup=max(1, min(30, steps // 10)))
    found = compare_routers(names, corpus(data, moe_use.data_folder()), config=config, training=training, seeds=drawn)
    emit([one.row() for one in found], title="routers", form=form, out=out)


for command in (moe_use.prune, moe_use.merge, moe_use.compress, moe_use.generate):
    app.command()(command)
app.command("offload-sim")(moe_use.offload_sim)


def _print_report(
    told: Any, form: str, out: Path | None, picture: str = "load", changed: list[float] | None = None
) -> None:
    from weighup.cli.rows import emit
    from weighup.errors import InvalidInput
    from weighup.moe.pictures import domain_maps, load_map, together_maps

    maps = {"load": load_map, "domains": domain_maps, "together": together_maps}
    if picture not in maps:
        raise InvalidInput(f"--picture {picture}: is load, domains or together")
    rows = told.rows()
    for layer, share in enumerate(changed or ()):
        rows[layer]["changed since"] = f"{share:.1%}"
    drawn = maps[picture](told) if out is not None and out.suffix == ".svg" else None
    emit(rows, title=f"routing of {told.tokens:,} tokens", form=form, out=out, picture=drawn)
    if form != "table" or out is not None:
        return
    if told.names:
        table = [
            {
                "layer": layer,
                "domain": name,
                **{str(n): f"{share:.0%}" for n, share in enumerate(told.domains[layer, d])},
            }
            for layer in range(len(told.load))
            for d, name in enumerate(told.names)
        ]
        emit(table, title="load by domain", form=form)
    pairs = []
    for layer, both in enumerate(told.together):
        off = both.copy()
        off[range(len(off)), range(len(off))] = 0
        a, b = divmod(int(off.argmax()), len(off))
        pairs.append({"layer": layer, "most used together": f"{a} and {b}", "share of tokens": f"{off[a, b]:.1%}"})
    emit(pairs, title="co-activation", form=form)


def _config(
    router: str, sizes: list[str] | None, options: list[str] | None, start: TinyConfig | None = None
) -> TinyConfig:
    from dataclasses import replace

    from weighup.errors import InvalidInput
    from weighup.moe.comparison import routed
    from weighup.moe.tiny import TinyConfig

    start = start or TinyConfig()
    given = moe_use.pairs(sizes, "--size")
    known = [name for name, value in start.dump().items() if isinstance(value, int)]
    for name, value in given.items():
        if name not in known or not isinstance(value, int):
            raise InvalidInput(f"--size {name}={value}: whole numbers of {', '.join(known)} are needed")
    return routed(replace(start, **given), router, moe_use.pairs(options, "--option"))
