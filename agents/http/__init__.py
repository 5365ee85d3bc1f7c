"""Shared by the HTTP interfaces: event streams of sessions, and the revalidation of their readers."""
