"""Work that no request waits for: the search index, vectors, memories formed by a model, and the clock."""
