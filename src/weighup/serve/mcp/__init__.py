"""The MCP server: weighup's checks, evidence and verdicts as tools for language models. Begin with `server.make`."""
