"""The pages for users: login and chat. Django templates, plain CSS, ES modules; no build step."""
