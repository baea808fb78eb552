"""The one error tree. Every message says what was wrong, where, and what to do about it."""

from __future__ import annotations


class WeighupError(Exception):
    """Root of all errors raised on purpose. `exit_code` is what the command ends with."""

    exit_code = 1


class InvalidInput(WeighupError):
    """A text, row, file, flag or request that cannot be used; the message names the place."""

    exit_code = 2


class SettingsError(InvalidInput):
    """A setting in weighup.toml, the environment or a flag that cannot be used."""


class WeightsError(WeighupError):
    """Trained weights that cannot be used; the message names the file, what was expected and what to do."""

    exit_code = 2


class ModelMissing(WeighupError):
    """A model's file is not on this machine; the message names the `weighup models pull` that gets it."""

    exit_code = 2


class ModelUnavailable(WeighupError):
    """A model did not give a usable answer (down, refused, hung, junk), after retries."""


class BudgetExceeded(WeighupError):
    """A hard budget of tokens, seconds or money is spent; nothing further was asked."""


class SourceUnavailable(WeighupError):
    """An evidence source did not answer usefully after retries; other sources go on."""


class AddressRefused(SourceUnavailable):
    """A fetch would have reached an address that hostile pages may not make us reach."""


class PageRefused(SourceUnavailable):
    """A page was not read: too large, wrong type, disallowed by robots.txt, or too many redirects."""


class StoreError(WeighupError):
    """The evidence store cannot be opened, written or read; the message names the file."""


class JobFailed(WeighupError):
    """A batch ended with failed rows; the good ones are written."""
