"""Credentials: API keys, our own tokens for users, and tokens of an identity provider."""
