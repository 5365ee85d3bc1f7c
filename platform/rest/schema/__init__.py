"""Declarations of operations, and the OpenAPI schema generated from them."""
