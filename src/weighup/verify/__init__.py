"""Is this news item real, fake, or is it too early to say? `Claim`, `Perspective`, `Assessment`, `Verdict`, `Verifier`."""
