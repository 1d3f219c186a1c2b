"""What a run leaves in its folder, read and written in one place."""
