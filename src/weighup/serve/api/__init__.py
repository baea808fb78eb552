"""The HTTP API of `weighup serve`. Begin with `app.create_app`."""
