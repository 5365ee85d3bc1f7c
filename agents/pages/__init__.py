"""The pages for people: login and chat. Django templates, plain CSS, ES modules; no build step."""
