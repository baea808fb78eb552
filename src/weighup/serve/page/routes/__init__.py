"""The pages, one file for each thing that is shown."""
