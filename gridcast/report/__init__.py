"""Pages and pictures for people, as text and figures; nothing here writes a file."""
