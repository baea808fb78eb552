"""Who can write, score and embed text for us: `LanguageModel`, `Encoder`, `Usage`."""
