"""The façade: three lines to a verdict, and what the verdict holds."""

from weighup import Verifier

v = Verifier(offline=True)  # without it, online sources are asked too
(verdict,) = v.check(["Dover Beach is a novel by Jane Austen."])

low, high = verdict.interval
print(
    f"{verdict.claim}\n{verdict.verdict}: P(fake) {verdict.probability_fake:.2f}, 90 % interval {low:.2f} to {high:.2f}"
)
print(f"decided by: {verdict.expert}\nwhy: {verdict.why}")
for passage in verdict.evidence:
    print(f"- {passage.stance}: {passage.text} ({passage.title}, {passage.date})")
