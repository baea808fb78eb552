"""`weighup moe generate|prune|merge|compress|offload-sim`: using, shrinking and moving a trained mixture of experts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from weighup.cli.rows import Format, Out

Model = Annotated[Path, typer.Argument(help="Folder of a checkpoint, ours or of transformers; `shipped` is ours.")]
Data = Annotated[Path | None, typer.Option("--data", help="Texts to calibrate and measure on; else the five domains.")]
Ratio = Annotated[float, typer.Option("--ratio", help="Share that goes: of experts, or of their hidden units.")]
Folder = Annotated[Path, typer.Option("--out", help="Folder for the smaller model.")]
Domain = Annotated[str, typer.Option("--domain", help="Calibrate and measure on this domain only.")]
Windows = Annotated[int, typer.Option("--windows", min=4, help="Windows a domain to calibrate on.")]


def ready() -> None:
    """Raises JobFailed saying what to install where torch is missing."""
    import importlib.util

    from weighup.errors import JobFailed

    missing = [name for name in ("torch", "safetensors", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise JobFailed(f"weighup moe needs {', '.join(missing)}; pip install 'weighup[train]'")


def data_folder() -> Path:
    """Where the five domains are."""
    return Path(os.environ.get("WEIGHUP_DATA", "../shared/data"))


def pairs(given: list[str] | None, option: str) -> dict[str, Any]:
    """name=value of an option; values as JSON where they are, else text. Raises InvalidInput."""
    from weighup.errors import InvalidInput

    found: dict[str, Any] = {}
    for one in given or ():
        name, equals, value = one.partition("=")
        if not equals or not name:
            raise InvalidInput(f"{option} {one}: is to be name=value")
        try:
            told = json.loads(value)
        except ValueError:
            told = value
        found[name] = tuple(told) if isinstance(told, list) else told
    return found


def generate(
    text: Annotated[str, typer.Option("--text", help="What to go on from.")],
    model: Model = Path("shipped"),
    by: Annotated[str, typer.Option("--control", help="none, scmoe, des, c3po or rewire.")] = "scmoe",
    length: Annotated[int, typer.Option("--length", min=1, help="Bytes to write.")] = 80,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="Of the control, several times: beta=0.5, ks=[1,2,3].")
    ] = None,
    data: Data = None,
    seed: Annotated[int, typer.Option("--seed", help="Of what is drawn.")] = 0,
) -> None:
    """Go on from a text with the model's experts chosen otherwise, beside what it writes by itself.

    Example: weighup moe generate --control scmoe --text "the boundary layer " --length 60
    """
    ready()
    from weighup.moe.control.use import write_on
    from weighup.moe.export import load_any
    from weighup.moe.inputs import corpus

    found = write_on(
        load_any(named(model)),
        text,
        length,
        by=by,
        options=pairs(option, "--option"),
        corpus=lambda: corpus(data, data_folder()),
        seed=seed,
    )
    typer.echo(f"by itself: {found.plain!r}")
    if by != "none":
        typer.echo(f"{by}: {found.text!r}")
        typer.echo(f"{found.seconds:.2f} s, by itself {found.plain_seconds:.2f} s")


def prune(
    model: Model,
    out: Folder,
    method: Annotated[str, typer.Option("--method", help="premoe, frequency, heapr or magnitude.")] = "premoe",
    ratio: Ratio = 0.5,
    data: Data = None,
    domain: Domain = "",
    windows: Windows = 40,
) -> None:
    """Drop whole experts (premoe, frequency) or single hidden units (heapr, magnitude).

    Example: weighup moe prune shipped --method premoe --ratio 0.5 --domain maths --out models/maths
    """
    from weighup.moe.compress.shrink import PRUNING

    _shrunk(model, out, method, PRUNING, ratio, data, domain, windows)


def merge(
    model: Model,
    out: Folder,
    method: Annotated[str, typer.Option("--method", help="mc_smoe, average, git_rebasin or zipit.")] = "mc_smoe",
    ratio: Ratio = 0.5,
    data: Data = None,
    domain: Domain = "",
    windows: Windows = 40,
) -> None:
    """Make one expert of several that are chosen alike.

    Example: weighup moe merge shipped --method mc_smoe --ratio 0.5 --out models/merged
    """
    from weighup.moe.compress.shrink import MERGING

    _shrunk(model, out, method, MERGING, ratio, data, domain, windows)


def compress(
    model: Model,
    out: Folder,
    method: Annotated[str, typer.Option("--method", help="heapr, magnitude or compressed_experts.")] = "heapr",
    ratio: Ratio = 0.25,
    data: Data = None,
    domain: Domain = "",
    windows: Windows = 40,
) -> None:
    """Make the experts narrower by what their loss says of every hidden unit, or replace some by vectors.

    Example: weighup moe compress shipped --method heapr --ratio 0.25 --out models/narrow
    """
    from weighup.moe.compress.shrink import COMPRESSING

    _shrunk(model, out, method, COMPRESSING, ratio, data, domain, windows)


def offload_sim(
    trace: Annotated[Path, typer.Argument(help="A trace: weighup moe trace.")],
    policy: Annotated[
        list[str] | None, typer.Option("--policy", help="lru, lfu, score, belady; several times; else all.")
    ] = None,
    capacity: Annotated[
        list[int] | None, typer.Option("--capacity", help="Experts a layer that fit, several times; else k to N.")
    ] = None,
    expert_mb: Annotated[float, typer.Option("--expert-mb", help="Megabytes of one expert.")] = 100.0,
    bandwidth: Annotated[float, typer.Option("--bandwidth", help="GB/s from where experts are kept.")] = 16.0,
    layer_ms: Annotated[float, typer.Option("--layer-ms", help="Milliseconds of a layer, its experts there.")] = 0.5,
    form: Format = "table",
    out: Out = None,
) -> None:
    """Replay a trace through a cache of experts: hit rate, bytes moved, tokens a second.

    Example: weighup moe offload-sim trace.parquet --policy lru --policy belady --bandwidth 16
    """
    ready()
    from weighup.cli.rows import emit
    from weighup.console import progress
    from weighup.errors import InvalidInput
    from weighup.moe.control.offload import POLICIES, Hardware, replay
    from weighup.moe.trace import RoutingTrace
    from weighup.train.plots import Line, lines

    hardware = Hardware(expert_mb * 1e6, bandwidth * 1e9, layer_ms / 1e3)
    told = RoutingTrace.read(trace)
    unknown = sorted(set(policy or ()) - set(POLICIES))
    if unknown:
        raise InvalidInput(f"--policy {unknown[0]}: is not known; there are {', '.join(POLICIES)}")
    chosen = [one for one in POLICIES if one in (policy or POLICIES) and (one != "score" or told.logits is not None)]
    k = int((told.indices >= 0).sum(2).max())
    sizes = sorted(set(capacity)) if capacity else list(range(k, told.n_experts + 1))
    rows: list[dict[str, Any]] = []
    with progress("replaying", len(chosen) * len(sizes)) as advance:
        for size in sizes:
            for one in chosen:
                found = replay(told, one, size)
                rows.append(
                    {
                        "capacity": size,
                        "policy": one,
                        "hit rate": round(found.hit_rate, 4),
                        "GB moved": _short(found.bytes_moved(hardware) / 1e9),
                        "tokens/s": _short(found.tokens_per_second(hardware)),
                    }
                )
                advance(1)
    drawn = None
    if out is not None and out.suffix == ".svg":
        panel: dict[str, Line] = {
            one: Line([(row["capacity"] / told.n_experts, row["hit rate"]) for row in rows if row["policy"] == one])
            for one in chosen
        }
        drawn = lines(
            "Hit rate of a cache of experts", {"hit rate": panel}, x="share of experts that fit", y="hit rate"
        )
    emit(rows, title=f"{len(told):,} tokens, {told.layers} layers", form=form, out=out, picture=drawn)


def _shrunk(
    name: Path,
    out: Path,
    method: str,
    methods: tuple[str, ...],
    ratio: float,
    data: Path | None,
    domain: str,
    count: int,
) -> None:
    ready()
    from weighup.console import table
    from weighup.errors import InvalidInput
    from weighup.moe.compress.shrink import shrink, write
    from weighup.moe.export import load_any
    from weighup.moe.inputs import corpus, reads_bytes, windows

    if method.replace("-", "_") not in methods:
        raise InvalidInput(f"--method {method}: is one of {', '.join(methods)}")
    folder = named(name)
    model = load_any(folder)
    source: Any = data if data is not None and not reads_bytes(model) else corpus(data, data_folder())

    def of(split: Any) -> list[Any]:
        found = [
            ids for ids, one in windows(model, folder, source, split=split, most=count) if not domain or one == domain
        ]
        if not found:
            raise InvalidInput(f"--domain {domain}: the data has no such domain")
        return found

    found = shrink(model, method, ratio, of("train"), of("test"), domain=domain)
    row = found.row()
    table(list(row), [tuple(row.values())], title=f"{method}, ratio {ratio:g}")
    for line in found.told:
        typer.echo(line)
    typer.echo(f"wrote {out}: {write(found, method, out)}")


def named(model: Path) -> Path | None:
    """The folder; None for the shipped model."""
    return None if str(model) == "shipped" else model


def _short(value: float) -> float:
    return float(f"{value:.4g}")
