"""How operations are declared, and the OpenAPI schema that is made of what the apps declare."""
