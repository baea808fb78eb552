"""Trains the stance model and writes `stance.onnx` (int8), its card and the tokenizer. Two CPU cores suffice.

    python weights/stance.py --data ../shared/data --encoder DIR --out src/weighup/_weights

DIR holds all-MiniLM-L6-v2 (`model.safetensors`, `tokenizer.json`). `--no-match`, `--no-features`, `--no-edits` leave
a part out (the ablations of docs/methods/stance.md); `--score-test` scores the test splits once, after all choices.
The loss takes "refutes or neutral" as one event, -log(p_refutes + p_neutral), and partial support as "supports or
neutral". Everything is chosen on dev (see stance_data.py); the last step adds the wide half and shifts the logits to
the best mean macro-F1 there (post-hoc logit adjustment, Menon et al. 2021, arXiv 2007.07314, the shift searched).
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from stance_data import EXTRA, SETS, Pair, edited, load, sentences_as_claims
from stance_eval import dev_table, predict
from stance_export import ship
from stance_net import StanceNet, neighbours, token_kinds
from stance_wide_fit import fit_wide, mix, save_wide, wide_logits
from torch import Tensor

from weighup.verify.stance import encode_pairs, load_tokenizer, padded
from weighup.verify.stance_features import FEATURES, NEGATIONS, STOP, features

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", type=Path, required=True)
parser.add_argument("--encoder", type=Path, required=True)
parser.add_argument("--out", type=Path, required=True)
parser.add_argument("--steps", type=int, default=2600)
parser.add_argument(
    "--minutes", type=float, default=25.0, help="the schedule ends here if the steps do not; 0: no training"
)
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--lr", type=float, default=2e-4)
parser.add_argument("--seed", type=int, default=7)
parser.add_argument("--max-tokens", type=int, default=128, help="in training; 160 when scoring")
parser.add_argument("--no-match", action="store_true")
parser.add_argument("--no-features", action="store_true")
parser.add_argument("--no-edits", action="store_true")
parser.add_argument("--no-extra", action="store_true")
parser.add_argument("--start", type=Path, help="go on from the weights that an earlier run kept")
parser.add_argument("--keep", type=Path, help="keep the fp32 weights here, for --start")
parser.add_argument("--score-test", action="store_true")
args = parser.parse_args()

torch.set_num_threads(2)
torch.manual_seed(args.seed)
rng = random.Random(args.seed)
started = time.time()

PATHS = ("data", "encoder", "out", "start", "keep")
# How many pairs of each source one round draws; neutral fool_me_twice pairs are 9 in 10, so they are drawn apart.
ROUND = {
    "healthver": 1569, "covid_fact": 4200, "climate_fever": 4200, "check_covid": 1401, "fool_me_twice": 1258,
    "fool_me_twice neutral": 500, "rte": 1000, "scifact_rte": 564, "wice_claims": 200, "med": 300,
    "edited": 2500, "own_sentence": 600,
}  # fmt: skip
WEIGHT = {"edited": 0.6, "own_sentence": 0.5, "med": 0.5, "wice_claims": 0.7, "rte": 0.7}

# 1. The pairs.
train, dev, files = load(args.data)
tokenizer = load_tokenizer(args.encoder / "tokenizer.json")
vocab = tokenizer.get_vocab()
net = StanceNet(token_kinds(vocab, STOP, NEGATIONS), len(FEATURES), match=not args.no_match)
net.load_trunk(args.encoder / "model.safetensors")
stages = []
if args.start:
    earlier = torch.load(args.start, weights_only=True)
    net.load_state_dict(earlier["net"])
    net.bias.zero_()
    stages = earlier["stages"]
if args.no_extra:
    train = [p for p in train if p.source not in EXTRA]
if not args.no_edits:
    seen = {w for p in train for w in p.claim.lower().split()}
    near = neighbours(vocab, net.words.weight.detach(), seen)
    train = train + edited(train, near, rng) + sentences_as_claims(train, near, rng)
pools: dict[str, list[Pair]] = {}
for pair in train:
    apart = " neutral" if pair.source == "fool_me_twice" and pair.label == 2 else ""
    pools.setdefault(pair.source + apart, []).append(pair)
print({k: len(v) for k, v in pools.items()}, "dev", len(dev), f"{time.time() - started:.0f} s", flush=True)


# 2. Batches: a round draws from every pool, sorts stretches of 50 batches by length, and shuffles the batches.
def tensors(pairs: list[Pair]) -> tuple[Tensor, Tensor, Tensor]:
    ids, types = encode_pairs(tokenizer, [(p.claim, p.passage) for p in pairs], args.max_tokens)
    feats = features([(p.claim, p.passage) for p in pairs])
    if args.no_features:
        feats = np.zeros_like(feats)
    return torch.from_numpy(padded(ids)), torch.from_numpy(padded(types)), torch.from_numpy(feats)


def batches() -> Iterator[list[Pair]]:
    while True:
        drawn = []
        for name, count in ROUND.items():
            pool = pools.get(name, [])
            drawn += rng.sample(pool, min(count, len(pool)))
        rng.shuffle(drawn)
        out = []
        for start in range(0, len(drawn) - args.batch, args.batch * 50):
            stretch = sorted(
                drawn[start : start + args.batch * 50], key=lambda p: len(p.claim) + min(len(p.passage), 600)
            )
            out += [stretch[i : i + args.batch] for i in range(0, len(stretch) - args.batch + 1, args.batch)]
        rng.shuffle(out)
        yield from out


if not args.start:
    sample = tensors(rng.sample(train, 4000))[2]
    net.mean.copy_(sample.mean(0))
    net.scale.copy_(sample.std(0).clamp(min=0.05))

# 3. Training: AdamW; linear warm-up, then decay over the steps or the minutes, whichever end first; bfloat16 where it
#    is safe; a running mean of the weights over the last quarter.
net.words.weight.requires_grad_(False)
fresh = [*net.head.parameters(), *net.match.parameters()]
trunk = [p for p in net.parameters() if p.requires_grad and all(p is not f for f in fresh)]
optimiser = torch.optim.AdamW(
    [{"params": trunk, "lr": args.lr}, {"params": fresh, "lr": 5 * args.lr}], weight_decay=0.01, fused=True
)
peaks = [group["lr"] for group in optimiser.param_groups]
EVENTS = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1], [1, 0, 1]], dtype=torch.bool)
mean_weights: list[Tensor] = []
running = 0.0
begun = time.time()
net.train()
for step, batch in zip(range(args.steps), batches(), strict=False):
    done = max(step / args.steps, (time.time() - begun) / 60 / args.minutes) if args.minutes else 1.0
    if done >= 1:
        break
    for group, peak in zip(optimiser.param_groups, peaks, strict=True):
        group["lr"] = peak * min((step + 1) / 60, 1.02 - done)
    ids, types, feats = tensors(batch)
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(ids, types, feats)
    told = EVENTS[torch.tensor([p.label for p in batch])]
    log_p = torch.log_softmax(logits.float(), dim=-1)
    loss_each = -torch.logsumexp(log_p.masked_fill(~told, -1e4), dim=-1)
    weight = torch.tensor([WEIGHT.get(p.source, 1.0) for p in batch])
    loss = (loss_each * weight).sum() / weight.sum()
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trunk, 1.0)
    optimiser.step()
    running = 0.98 * running + 0.02 * loss.item() if step else loss.item()
    if done >= 0.75 and step % 5 == 0:
        current = [p.detach() for p in (*trunk, *fresh)]
        if not mean_weights:
            mean_weights = [p.clone() for p in current]
        for m, p in zip(mean_weights, current, strict=True):
            m.lerp_(p, 0.04)
    if step % 50 == 0:
        rate = (step + 1) * args.batch / (time.time() - begun)
        print(f"step {step} loss {running:.3f} {rate:.0f} pairs/s {time.time() - started:.0f} s", flush=True)
with torch.no_grad():
    for m, p in zip(mean_weights, (*trunk, *fresh) if mean_weights else (), strict=True):
        p.copy_(m)
minutes = (time.time() - started) / 60

# 4. The wide half, its share, the shift of the logits and the temperature, all on dev; then the files.
net.eval()
args.out.mkdir(parents=True, exist_ok=True)
deep = predict(net, tokenizer, dev, no_features=args.no_features)
wide = fit_wide(train, tokenizer, len(vocab))
beside = wide_logits(wide, dev, tokenizer)
print("dev, deep half as trained\n" + dev_table(deep, dev))
print("dev, wide half as trained\n" + dev_table(beside, dev))
share, shift, divisor = mix(deep, beside, dev)
print(f"dev, mixed {share} shift {shift.round(2).tolist()}\n" + dev_table(deep + share * beside + shift, dev))
save_wide(wide, share, shift, divisor, args.out / "stance-wide.npz")
recipe = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items() if k not in PATHS}
recipe |= {"round": ROUND, "weights": WEIGHT, "minutes": round(minutes, 1), "sets": [*SETS, *EXTRA]}
recipe |= {"pairs_seen": step * args.batch}
mixed = {"wide_share": share, "shift": [round(float(s), 2) for s in shift], "temperature": round(divisor, 2)}
stages = [*stages, recipe | mixed] if step else [*stages[:-1], stages[-1] | mixed]
if args.keep:
    torch.save({"net": net.state_dict(), "stages": stages}, args.keep)
ship(net, args, stages, files, dev)
