"""The MCP server: tools and resources for language models, at `/mcp` and over standard input and output.

Each tool is a fixed GraphQL document (`documents.py`) that is executed as any request is, so it has the viewer's scope,
permissions and limits. Of these modules only `endpoint.py` and `metadata.py` are loaded with the server: the SDK takes
half a second and 25 MB, which a server pays with its first request to `/mcp`.
"""
