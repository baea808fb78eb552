"""The `weighup` command. Modules here import only typer at the top; the rest inside, so that --help is quick."""
