"""Is this news item real or fake, or is it too early to say?

`Claim`, `Perspective`, `Assessment`, `Verdict`, `Verifier`."""
