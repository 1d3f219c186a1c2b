"""The recipes that ship, one TOML per model of the paper."""
