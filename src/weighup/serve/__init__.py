"""weighup all day long: what the server and the watcher share. Needs `pip install 'weighup[serve]'`."""
