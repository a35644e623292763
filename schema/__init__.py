"""The GraphQL schema: Strawberry types, connections and mutations. A field is a line or two."""
