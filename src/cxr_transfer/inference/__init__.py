"""A trained network answers: a film in, class scores out, without torch once it is converted."""
