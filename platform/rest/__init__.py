"""The building blocks of the HTTP interfaces: authentication, input, responses, problems, paging, schema."""
