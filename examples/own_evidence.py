"""Your own evidence, with dates: what was published after the claim is dropped, and the verdict says so."""

from weighup import Claim, Verifier
from weighup.dates import parse_bound, parse_published
from weighup.retrieve.types import Evidence

EVIDENCE = [
    ("The dam was inspected on Monday and no damage was found, the ministry said.", "2024-05-06"),
    ("Engineers confirm: the dam broke on Thursday night.", "2024-05-10"),
]

claim = Claim(
    text="The dam broke on Monday.",
    date=parse_bound("2024-05-08"),
    evidence=tuple(Evidence(text=text, origin="row", published=parse_published(day)) for text, day in EVIDENCE),
)
(verdict,) = Verifier(offline=True, search=False).check([claim])

print(f"{verdict.verdict} (P(fake) {verdict.probability_fake:.2f}); {verdict.why}")
print("used:", [passage.date for passage in verdict.evidence])
print("warnings:", *verdict.warnings, sep="\n- ")
