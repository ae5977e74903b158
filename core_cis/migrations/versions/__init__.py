"""The steps, one a schema version; a step that was released never changes."""
