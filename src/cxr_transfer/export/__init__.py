"""A checkpoint leaves for other programs: converted, compared, described."""
