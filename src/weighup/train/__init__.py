"""Training weighup's own heads on a user's labelled rows, and measuring them."""
